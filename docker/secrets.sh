#!/bin/sh
# Once, without a network: the database password, the data authority's key pair, and the secret of its REST client.
# The private key is written into the authority's volume and nowhere else.
set -eu
umask 027
random() { python3 -c 'import secrets; print(secrets.token_urlsafe(32))'; }
[ -s /secrets/database-password ] || random > /secrets/database-password
[ -s /authority/authority.key ] && [ -s /authority-public/authority.pub ] ||
  shuyan-authority init --key /authority/authority.key --public /authority-public/authority.pub
[ -s /authority/client.secret ] || (umask 077 && random > /authority/client.secret)
[ -s /secrets/authority-client.secret ] || cp /authority/client.secret /secrets/authority-client.secret
