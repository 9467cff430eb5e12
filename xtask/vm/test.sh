# Runs the tests of an archive in the guest. Beside it: the work tree's files, and cargo-nextest.
set -u
export NEXTEST_PROFILE=vm CARGO_TERM_COLOR=never NEXTEST_NO_INPUT_HANDLER=1
export @ENVIRONMENT@
cp -r /in/tree /scratch/tree
mkdir -p /scratch/unpacked
# Paths that the compiler put into the tests (of the work tree, of the program) lead to the copies here.
link() {
    [ -e "$2" ] || { mkdir -p "$(dirname "$2")" && ln -s "$1" "$2"; }
}
link /scratch/tree '@WORKSPACE@'
link /scratch/unpacked/target '@TARGET@'
cat >/scratch/nextest.toml <<'END'
@PROFILE@END
exec /in/cargo-nextest nextest run --archive-file /in/tests.tar.zst --extract-to /scratch/unpacked \
    --workspace-remap /scratch/tree --tool-config-file "vm:/scratch/nextest.toml" --no-input-handler \
    --partition @PARTITION@ -E '@EXPRESSION@'
