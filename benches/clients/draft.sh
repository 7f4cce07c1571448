#!/usr/bin/env bash
# The IETF draft with curl: draft.sh CASE URL DATASET KEY PHOTO LABEL.
set -euo pipefail
case=$1 url=$2 dataset=$3 key=$4 photo=$5 label=$6
auth="Authorization: Bearer $key"
size=$(stat -c %s "$photo") half=$(($(stat -c %s "$photo") / 2))
captures=$url/v1/datasets/$dataset/captures
headers=$(mktemp) part=$(mktemp)
trap 'rm -f "$headers" "$part"' EXIT

ask() { curl -sS -D "$headers" -o /dev/null -w '%{http_code}' -H "$auth" "$@"; }
told() { tr -d '\r' <"$headers" | sed -n "s/^$1: //Ip" | tail -n 1; }
expect() { [ "$1" = "$2" ] || { echo "expected $2, got $1: $3"; exit 1; }; }

case $case in
whole)
    status=$(ask --data-binary "@$photo" -H "X-Label: $label" -H 'Upload-Complete: ?1' "$captures")
    expect "$status" 202 "a whole upload" ;;
"in two parts")
    status=$(ask -X POST -H "X-Label: $label" -H 'Upload-Complete: ?0' -H "Upload-Length: $size" "$captures")
    expect "$status" 201 creation
    upload=$url$(told Location)
    head -c "$half" "$photo" >"$part"
    patch=(-X PATCH -H 'Content-Type: application/partial-upload')
    status=$(ask "${patch[@]}" -H 'Upload-Offset: 0' -H 'Upload-Complete: ?0' --data-binary "@$part" "$upload")
    expect "$status" 204 "the first half"
    status=$(ask "${patch[@]}" -H 'Upload-Offset: 1' -H 'Upload-Complete: ?0' --data-binary x "$upload")
    expect "$status" 409 "a wrong offset"
    expect "$(told Upload-Offset)" "$half" "the right offset"
    status=$(ask -I "$upload")
    expect "$status $(told Upload-Offset)" "204 $half" "the offset"
    tail -c +$((half + 1)) "$photo" >"$part"
    status=$(ask "${patch[@]}" -H "Upload-Offset: $half" -H 'Upload-Complete: ?1' --data-binary "@$part" "$upload")
    expect "$status" 202 "the second half"
    status=$(ask "${patch[@]}" -H "Upload-Offset: $size" -H 'Upload-Complete: ?1' --data-binary '' "$upload")
    expect "$status $(told Upload-Complete)" "202 ?1" "the answer once more" ;;
"cut off by curl")
    # curl is given half a second for a link that needs two; what came is gone on with.
    status=$(ask -X POST -H "X-Label: $label" -H 'Upload-Complete: ?0' -H "Upload-Length: $size" "$captures")
    expect "$status" 201 creation
    upload=$url$(told Location)
    curl -sS -o /dev/null -m 0.5 --limit-rate "$half" -X PATCH -H "$auth" -H 'Content-Type: application/partial-upload' \
        -H 'Upload-Offset: 0' -H 'Upload-Complete: ?1' -T "$photo" "$upload" 2>/dev/null || true
    ask -I "$upload" >/dev/null
    offset=$(told Upload-Offset)
    tail -c +$((offset + 1)) "$photo" >"$part"
    status=$(ask -X PATCH -H 'Content-Type: application/partial-upload' -H "Upload-Offset: $offset" -H 'Upload-Complete: ?1' \
        --data-binary "@$part" "$upload")
    expect "$status" 202 "the rest from $offset" ;;
*) echo "no case $case"; exit 1 ;;
esac
echo done
