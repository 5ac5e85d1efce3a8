#!/bin/bash
# Prints the texts of the licences of crates, each text once with the crates that it comes with: cross/licences.sh TARGET CRATES
#
# CRATES is a file with one crate a line, as `cargo tree --prefix none` names them; TARGET is Rust's name of what they were
# compiled for. Their sources tell. The order depends on nothing but names and texts.
set -euo pipefail

target=$1 crates=$2
export LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where cargo has the sources: in its answer each crate's name and version come first, and its manifest later.
cargo metadata --locked --format-version 1 --filter-platform "$target" |
    grep -oE '"name":"[^"]*","version":"[^"]*","id"|"manifest_path":"[^"]*"' |
    awk -F '"' '$2 == "name" { crate = $4 " v" $8 }
        $2 == "manifest_path" { sub("/Cargo.toml$", "", $4); print crate "\t" $4 }' >"$work/folders"

# Which text is which crate's: hash, crate.
: >"$work/without"
while read -r name version _; do
    folder=$(awk -F '\t' -v crate="$name $version" '$1 == crate { print $2; exit }' "$work/folders")
    [ -d "$folder" ] || { echo "licences: cargo does not say where the sources of $name $version are" >&2; exit 1; }
    # Those of fonts lie beside the fonts, under names of their own.
    find "$folder" -maxdepth 2 -type f ! -name '*.rs' \( -iname 'licen[cs]e*' -o -iname 'unlicen[cs]e*' -o -iname 'copying*' \
        -o -iname 'copyright*' -o -iname 'notice*' -o -iname '*-licen[cs]e.txt' -o -name OFL.txt -o -name UFL.txt \) \
        >"$work/found"
    [ -s "$work/found" ] || echo "$name ${version#v}" >>"$work/without"
    while read -r file; do
        tr -d '\r' <"$file" >"$work/text"
        hash=$(sha256sum <"$work/text")
        mv "$work/text" "$work/${hash%% *}"
        printf '%s\t%s\n' "${hash%% *}" "$name ${version#v}"
    done <"$work/found"
done <"$crates" >"$work/unsorted"

listed() { fold -s -w 100 | sed 's/ *$//'; }
line=$(printf '%80s' '' | tr ' ' -)
echo "The licences of the crates in crates.txt, as they come with the sources of the crates."
if [ -s "$work/without" ]; then
    { printf '\nWithout a text of their own: ' && sort "$work/without" | paste -sd , | sed 's/,/, /g'; } | listed
fi
# By length, which brings together those that are nearly the same and so makes less of them when packed.
sort -u "$work/unsorted" |
    awk -F '\t' '$1 != hash { if (hash) print hash "\t" all; hash = $1; all = $2; next } { all = all ", " $2 }
        END { if (hash) print hash "\t" all }' |
    while IFS=$'\t' read -r hash all; do
        printf '%s\t%s\t%s\n' "$(stat -c %s "$work/$hash")" "$hash" "$all"
    done | sort -k 1,1n -k 2,2 |
    while IFS=$'\t' read -r _ hash all; do
        printf '\n%s\n' "$line"
        echo "$all" | listed
        printf '\n'
        cat "$work/$hash"
    done
