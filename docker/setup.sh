#!/bin/sh
# Creates or upgrades the database, the operator's keys, the first accounts and one invitation for each department.
# Safe to run at every start.
set -eu
umask 027
keys=$SHUYAN_DATA_DIR/keys
shuyan-market init
[ -s "$keys/authority.pub" ] || cp /authority-public/authority.pub "$keys/authority.pub"
shuyan-coordinator init
accounts=$SHUYAN_DATA_DIR/accounts
if [ ! -e "$accounts/seeded" ]; then
  mkdir -p "$accounts/clients"
  cp /secrets/authority-client.secret "$accounts/clients/authority.secret"
  python3 docker/first_accounts.py "$accounts"
  shuyan-market seed "$accounts/seed.json"
  rm "$accounts/seed.json"
  touch "$accounts/seeded"
fi
number=1
for district in yanhe gucheng xinhu; do
  folder=/enrolment-$number
  if [ -d "$folder" ] && [ ! -e "$folder/invitation.txt" ]; then
    cp /authority-public/authority.pub "$folder/"
    shuyan-market node invite --organisation "org_$district" --name "node-$number" --out "$folder/invitation.txt"
  fi
  number=$((number + 1))
done
