#!/bin/sh
# A department's node: enrols itself with its invitation at the first start, then runs the agent. The department's
# raw data is made into its own volume, which no other container mounts.
set -eu
umask 077
node=/data/node
[ -e "$node/config.toml" ] || shuyan-node --dir "$node" init
[ -e "$node/identity.json" ] || shuyan-node --dir "$node" enrol --invitation /enrolment/invitation.txt \
  --authority-key /enrolment/authority.pub --yes
python3 -m demo.department "$DEPARTMENT" --data /data/source --node "$node" &
exec shuyan-node --dir "$node" run
