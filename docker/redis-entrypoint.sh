#!/bin/sh
# Writes Redis's ACL file from its template and the passwords in the environment, then becomes the given command.
#   PARROT_{APP,CORE,ENGINE,FLOWER,ADMIN}_PASSWORD   one for each user of the template; only their hashes are written
#   PARROT_ACL_TEMPLATE, PARROT_ACL_FILE             from where to where
set -eu
template=${PARROT_ACL_TEMPLATE:-/etc/parrot/users.acl}
file=${PARROT_ACL_FILE:-/run/users.acl}

hashes=
for role in app core engine flower admin; do
    name=PARROT_$(echo $role | tr a-z A-Z)_PASSWORD
    eval "password=\${$name:-}"
    [ -n "$password" ] || { echo "Set $name: the Redis user $role needs a password." >&2; exit 1; }
    hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
    hashes="$hashes;s/{$role}/#$hash/"
    unset "$name" password
done

umask 077
# Comments out, hashes in, indented lines joined to the line above.
sed -e '/^#/d' -e "${hashes#;}" "$template" |
    awk '/^ / { sub(/^ +/, " "); line = line $0; next } { if (line) print line; line = $0 } END { if (line) print line }' >"$file"

# From root to the user `redis`, who owns the data.
if [ "$(id -u)" = 0 ] && id redis >/dev/null 2>&1; then
    chown -R redis "$file" .
    exec setpriv --reuid=redis --regid=redis --clear-groups "$@"
fi
exec "$@"
