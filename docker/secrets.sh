#!/bin/sh
# Once, without a network: the database password, and the data authority's key pair.
set -eu
umask 037
[ -s /secrets/database-password ] || python3 -c 'import secrets; print(secrets.token_urlsafe(32))' > /secrets/database-password
[ -s /authority/authority.key ] || shuyan-authority init --key /authority/authority.key --public /authority-public/authority.pub
