#!/bin/sh
# Checks the archive in this folder with stock tools. It changes nothing and needs no network.
#
#   sh verify.sh                 is everything there, and intact?
#   sh verify.sh SHA256:...      and is it signed by the key with this fingerprint, the one kept outside the archive?
#
# It needs sha256sum (or shasum) and, for the signature, ssh-keygen. It does not judge how far the export proved each
# line of metadata/manifest.jsonl: verify.html and the toolkit do.
#
# Exit codes: 0 valid; 2 wrong usage; 4 data differs or is missing, or something was added; 5 something cannot be read;
# 6 the archive itself is damaged, or not signed as demanded. Of several, the highest.

set -u
LC_ALL=C
export LC_ALL
unset CDPATH POSIXLY_CORRECT

namespace=portability-archive-v1
payload=manifest-sha256.txt
tags=tagmanifest-sha256.txt
signature=signatures/$tags.sig
tab=$(printf '\t')
worst=0

# Names are active content in terminals: control, direction and line-separator characters are shown as "?".
clean() {
    awk '{
        gsub(/[\001-\037\177]/, "?"); gsub(/\302[\200-\237]/, "?")
        gsub(/\342\200[\213-\217\250-\256]/, "?"); gsub(/\342\201[\240-\257]/, "?"); print
    }'
}

# Lines that are not UTF-8: something is left of them when all that is well formed is taken out.
not_utf8() {
    awk '{
        line = $0
        gsub(/\360[\220-\277][\200-\277][\200-\277]/, "."); gsub(/[\361-\363][\200-\277][\200-\277][\200-\277]/, ".")
        gsub(/\364[\200-\217][\200-\277][\200-\277]/, "."); gsub(/\340[\240-\277][\200-\277]/, ".")
        gsub(/\355[\200-\237][\200-\277]/, "."); gsub(/[\341-\354\356\357][\200-\277][\200-\277]/, ".")
        gsub(/[\302-\337][\200-\277]/, "."); gsub(/[\001-\177]/, "")
        if ($0 != "") print line
    }'
}

# problem CODE RULE TEXT [NAMES]: a finding, with at most twenty names.
problem() {
    if [ "$1" -gt "$worst" ]; then worst=$1; fi
    printf '%s\n' "PROBLEM ($2): $3"
    if [ -n "${4-}" ]; then
        printf '%s\n' "$4" | clean | awk 'NR <= 20 { print "    " $0 } END { if (NR > 20) print "    ... and " NR - 20 " more" }'
    fi
}

finish() {
    if [ "$worst" = 0 ]; then
        echo "ARCHIVE INTACTE / ARCHIVE INTACT"
        echo "RESULT: VALID"
    else
        echo "ARCHIVE ALTÉRÉE OU INCOMPLÈTE, NE PAS RESTAURER / ARCHIVE ALTERED OR INCOMPLETE, DO NOT RESTORE"
        echo "RESULT: INVALID"
    fi
    exit "$worst"
}

paths() { sed 's/^.\{66\}//' "$@"; }
lines() { awk 'END { print NR }' "$@"; }

wanted=${1-}
case $wanted in
    "" | SHA256:*) ;;
    *) wanted= ; set -- usage usage ;;
esac
if [ $# -gt 1 ] || { [ $# = 1 ] && [ -z "$wanted" ]; }; then
    echo "usage: sh verify.sh [SHA256:...]" >&2
    exit 2
fi

if ! cd -- "$(dirname -- "$0")"; then
    problem 5 place "the folder of this script cannot be opened"
    finish
fi
if command -v sha256sum >/dev/null 2>&1; then
    sum="sha256sum"
elif command -v shasum >/dev/null 2>&1; then
    sum="shasum -a 256"
else
    problem 5 tools "neither sha256sum nor shasum is installed; verify.html needs neither"
    finish
fi

# 1. The four files that make a folder a bag.
for file in bagit.txt bag-info.txt "$payload" "$tags"; do
    if [ ! -f "$file" ] || [ -L "$file" ]; then
        problem 6 V8 "$file is missing: this is not a whole archive"
    elif [ ! -r "$file" ]; then
        problem 5 place "$file cannot be read"
    fi
done
if [ "$worst" != 0 ]; then finish; fi
if [ "$(cat bagit.txt; echo .)" != "BagIt-Version: 1.0
Tag-File-Character-Encoding: UTF-8
." ]; then
    problem 6 V1 "bagit.txt does not say what it must"
fi
if [ -e fetch.txt ]; then problem 6 V10 "fetch.txt is not allowed in an archive"; fi

# 2. The grammar of both lists: `sha256sum -c` returns 0 although a line is malformed.
for list in "$tags" "$payload"; do
    if [ -s "$list" ] && [ "$(tail -c 1 "$list" | wc -l)" -ne 1 ]; then
        problem 6 V3 "the last line of $list is cut"
    fi
    if [ "$(tr -d '\012\040-\176\200-\377' <"$list" | wc -c)" -ne 0 ]; then
        problem 6 V4 "$list holds control characters"
        continue
    fi
    bad=$(awk 'length($0) < 67 || substr($0, 1, 64) ~ /[^0-9a-f]/ || substr($0, 65, 2) != "  " { print NR ": " $0 }' "$list")
    if [ -n "$bad" ]; then problem 6 V3 "$list has lines that are no checksum lines" "$bad"; continue; fi
    bad=$(paths "$list" | awk '
        /^[~\/]/ || /^[A-Za-z]:/ || /\\/ || $0 == "-" || ("/" $0 "/") ~ /\/\.?\.?\// || /\302[\200-\237]/')
    if [ -n "$bad" ]; then problem 6 V4 "$list has paths that are not allowed" "$bad"; fi
    bad=$(paths "$list" | not_utf8)
    if [ -n "$bad" ]; then problem 6 V4 "$list has paths that are not UTF-8" "$bad"; fi
    if ! paths "$list" | sort -c >/dev/null 2>&1; then problem 6 V3 "$list is not sorted by path"; fi
    bad=$(paths "$list" | grep % || :)
    if [ -n "$bad" ]; then problem 6 V16 "$list has paths with a percent sign" "$bad"; fi
    bad=$(paths "$list" | sort | uniq -d)
    if [ -n "$bad" ]; then problem 6 V6 "$list names a file twice" "$bad"; fi
done
bad=$(paths "$payload" | grep -v '^data/' || :)
if [ -n "$bad" ]; then problem 6 V5 "$payload names files outside data/" "$bad"; fi
bad=$(paths "$tags" | grep -e '^data/' -e '^signatures/' -e "^$tags\$" || :)
if [ -n "$bad" ]; then problem 6 V5 "$tags names files that it must not name" "$bad"; fi
for file in bagit.txt bag-info.txt "$payload" metadata/manifest.jsonl metadata/checkpoint.txt; do
    if paths "$tags" | grep -q -F -x -e "$file"; then continue; fi
    if [ "$file" = metadata/manifest.jsonl ] && paths "$tags" | grep -q -F -x -e "$file.age"; then continue; fi
    problem 6 V9 "$tags does not name $file"
done
if [ -f manifest-sha512.txt ] && [ "$(sed 's/^.\{130\}//' manifest-sha512.txt | sort)" != "$(paths "$payload" | sort)" ]; then
    problem 6 V7 "manifest-sha512.txt names other files than $payload"
fi
if [ "$worst" != 0 ]; then
    echo "The lists cannot be trusted; files were not compared."
    finish
fi

# 3. Digests: every listed file must be called OK. What is missing is named in step 4.
digests() {
    count=$(lines "$1")
    echo "Checking $count files of $1 ..."
    intact=0
    wrong=
    if [ "$count" = 0 ]; then return; fi
    wrong=$($sum -c "$1" 2>/dev/null </dev/null | awk '/: OK$/ { intact++; next } { print } END { print intact + 0 }')
    intact=${wrong##*"
"}
    wrong=$(printf '%s\n' "$wrong" | sed -e '$d' -e 's/: FAILED.*$//' | while IFS= read -r file; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done)
}

digests "$tags"
echo "Fichiers de description : $intact intacts sur $count / Description files: $intact of $count intact"
if [ -n "$wrong" ]; then problem 6 V15 "description files that differ or cannot be read:" "$wrong"; fi
uncompared=$((count - intact))
digests "$payload"
echo "Données : $intact fichiers intacts sur $count / Data: $intact of $count files intact"
if [ -n "$wrong" ]; then problem 4 V15 "data files that differ or cannot be read:" "$wrong"; fi
uncompared=$((uncompared + count - intact))

# 4. Listed against found, both sorted.
found() {
    if [ "$(uname 2>/dev/null)" = Darwin ] && command -v iconv >/dev/null; then
        find . -type f -print | iconv -f UTF-8-MAC -t UTF-8
    else
        find . -type f -print
    fi
}
if ! find . -print >/dev/null 2>&1; then problem 5 place "a folder of the archive cannot be read"; fi
bad=$(find . -name "*[[:cntrl:]]*" -print)
if [ -n "$bad" ]; then problem 6 V11 "names with control characters" "$bad"; fi
bad=$(find . -print 2>/dev/null | not_utf8)
if [ -n "$bad" ]; then problem 6 V11 "names that are not UTF-8" "$bad"; fi
differences=$({
    found 2>/dev/null | sed -e 's|^\./||' -e "s/\$/$tab<found/"
    paths "$tags" "$payload" | sed "s/\$/$tab<listed/"
} | sort | awk -F "$tab<" '
    function flush() {
        if (path == "") return
        if (was == "listed") { print "missing " path; return }
        if (was != "found") return
        name = path; sub(/.*\//, "", name)
        if (path ~ /^tagmanifest-sha(256|512)\.txt$/) return
        if (path ~ /^signatures\/(allowed_signers|tagmanifest-sha256\.txt\.(sig|sig\.tsr|sig\.crt|p7s))$/) return
        if (path ~ /^signatures\/statements\/[0-9][0-9][0-9][0-9]-[A-Za-z0-9_-]+\.json(\.sig)?$/) return
        if (name ~ /^(\.DS_Store|Thumbs\.db|desktop\.ini|\._.*)$/) print "left " path
        else print "extra " path
    }
    { if ($1 == path) { was = "both"; next } flush(); path = $1; was = $NF }
    END { flush() }')
sorted_out() { printf '%s\n' "$differences" | sed -n "s/^$1 //p"; }
missing=$(sorted_out missing)
extra=$(sorted_out extra)
left=$(sorted_out left)
number() { if [ -n "$1" ]; then printf '%s\n' "$1" | lines; else echo 0; fi; }
n_missing=$(number "$missing") n_extra=$(number "$extra") n_left=$(number "$left")
echo "Fichiers manquants : $n_missing, en trop : $n_extra, laissés par un explorateur : $n_left / Missing files: $n_missing, extra: $n_extra, left by a file manager: $n_left"
in_data() { printf '%s\n' "$1" | grep '^data/' || :; }
elsewhere() { printf '%s\n' "$1" | grep -v -e '^data/' -e '^$' || :; }
names=$(in_data "$missing")
if [ -n "$names" ]; then problem 4 V15 "data files missing:" "$names"; fi
names=$(elsewhere "$missing")
if [ -n "$names" ]; then problem 6 V15 "description files missing:" "$names"; fi
names=$(in_data "$extra")
if [ -n "$names" ]; then problem 4 V12 "files in data/ that are not listed:" "$names"; fi
names=$(elsewhere "$extra")
if [ -n "$names" ]; then problem 4 V13 "files outside data/ that are not listed:" "$names"; fi
if [ "$worst" = 0 ] && [ "$uncompared" != 0 ]; then problem 6 V15 "$uncompared listed files could not be compared"; fi
if [ -n "$missing" ] && [ -n "$extra" ]; then
    echo "(A name whose accents were recomposed by a copy looks missing and extra: verify.html and the toolkit recognise it.)"
fi
if [ -n "$left" ]; then
    echo "Left by a file manager, harmless (V18):"
    printf '%s\n' "$left" | clean | sed 's/^/    /'
fi

# 5. Anything that is neither file nor folder; then, if all is as listed, size and number as the label states them.
bad=$(find . ! -type f ! -type d -print 2>/dev/null | sed 's|^\./||')
if [ -n "$bad" ]; then problem 6 V11 "links or special files, which an archive never holds:" "$bad"; fi
oxum=$(grep -i '^Payload-Oxum *:' bag-info.txt | sed 's/^[^:]*: *//')
counted=$(find data -type f -exec wc -c {} + 2>/dev/null | awk '
    NF == 2 && $2 == "total" { next } { name = $0; sub(/^ *[0-9]+ /, "", name); sub(/.*\//, "", name) }
    name ~ /^(\.DS_Store|Thumbs\.db|desktop\.ini|\._.*)$/ { next } { bytes += $1; files++ } END { printf "%.0f.%d", bytes, files }')
if [ "$worst" = 0 ] && [ "$oxum" != "$counted" ]; then problem 6 V14 "bag-info.txt states Payload-Oxum $oxum, found $counted"; fi

# 6. The manifest: its seal, its root in portable form, and the digests which it and the payload list name.
manifest=metadata/manifest.jsonl
if [ -f "$manifest" ]; then
    seal=$(tail -n 1 "$manifest")
    above=$(sed '$d' "$manifest" | $sum | cut -c1-64)
    case $seal in
        '{"seal":{"bytes":'*",\"sha256\":\"$above\"}}") ;;
        *) problem 6 V19 "the seal of $manifest is missing or does not fit" ;;
    esac
    stated=$(printf '%s\n' "$seal" | sed -n 's/.*"count":\([0-9]*\),"root":"\([0-9a-f]*\)".*/\1 \2/p' | awk '
        function digit(hex) { return index("0123456789abcdef", hex) - 1 }
        {   # the checkpoint has the root in base64: three hex digits are two of its letters
            letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"; hex = $2 "00"; text = ""
            for (i = 1; i < length(hex); i += 3) {
                value = digit(substr(hex, i, 1)) * 256 + digit(substr(hex, i + 1, 1)) * 16 + digit(substr(hex, i + 2, 1))
                text = text substr(letters, int(value / 64) + 1, 1) substr(letters, value % 64 + 1, 1)
            }
            print $1; print substr(text, 1, 43) "="
        }')
    if [ "$(sed 1d metadata/checkpoint.txt)" != "$stated" ]; then
        problem 6 V19 "metadata/checkpoint.txt and the seal of $manifest disagree"
    fi
    pattern='"sha256":"[0-9a-f]\{64\}"'
    bad=$({
        grep -v '^[0-9a-f]\{64\}  data/ro-crate-metadata\.json$' "$payload" | cut -c1-64 | sort -u
        grep -o "$pattern" "$manifest" | cut -d'"' -f4 | sort -u | sed 'p'
    } | sort | uniq -u)
    if [ -n "$bad" ]; then problem 6 V20 "digests of data files that $manifest does not name:" "$bad"; fi
    bad=$({
        grep -v '"stored_in":{"archive":"' "$manifest" | grep -o "\"salt\":\"[A-Za-z0-9+/=]*\",$pattern,\"size\":" | cut -d'"' -f8 | sort -u
        cut -c1-64 "$payload" | sort -u | sed 'p'
    } | sort | uniq -u)
    if [ -n "$bad" ]; then problem 6 V20 "digests named by $manifest that no data file has:" "$bad"; fi
fi

# 7. The signature.
if [ ! -e "$signature" ]; then
    echo "Non signée : un dommage se voit, une falsification ne se voit pas. / Not signed: damage shows, forgery does not."
    if [ -n "$wanted" ]; then problem 6 V22 "a signature by $wanted is demanded, and there is none"; fi
elif ! command -v ssh-keygen >/dev/null 2>&1; then
    echo "The signature was not checked: ssh-keygen is not installed."
    if [ -n "$wanted" ]; then problem 6 V22 "a signature by $wanted is demanded, and could not be checked"; fi
elif answer=$(ssh-keygen -Y check-novalidate -n "$namespace" -s "$signature" <"$tags" 2>&1); then
    signer=$(printf '%s\n' "$answer" | sed -n 's/^Good .* key \(SHA256:[A-Za-z0-9+/]*\)$/\1/p')
    echo "Signé par la clé $signer À comparer avec l'empreinte conservée hors de l'archive."
    echo "Signed by key $signer Compare with the fingerprint kept outside the archive."
    echo "Cette empreinte ne prouve l'origine de l'archive que si elle est identique à celle que vous conservez hors de l'archive (rapport d'exercice, certificat, annexe du contrat)."
    echo "This fingerprint proves where the archive comes from only if it equals the one you keep outside the archive (drill report, certificate, contract annex)."
    if [ -z "$signer" ]; then problem 6 V22 "ssh-keygen does not name the key"
    elif [ -n "$wanted" ] && [ "$signer" != "$wanted" ]; then problem 6 V22 "signed by $signer, but a signature by $wanted is demanded"; fi
else
    case $answer in
        *"nknown option"* | *"llegal option"* | *"nsupported operation"*)
            echo "The signature was not checked: this ssh-keygen is too old."
            if [ -n "$wanted" ]; then problem 6 V22 "a signature by $wanted is demanded, and could not be checked"; fi
            ;;
        *) problem 6 V22 "the signature is not valid" "$answer" ;;
    esac
fi
finish
