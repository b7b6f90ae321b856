#!/bin/sh
# Installs the tools without which tests are skipped: a Chromium and a small TeX by apt-get, the extra [peers] by pip. What cannot be
# installed here is named; its tests are skipped, and pytest's last lines say which.
cd "$(dirname "$0")/../.." || exit

any() { # whether one of these programs is there
    for program; do
        command -v "$program" > /dev/null && return
    done
    return 1
}

packages=
any chromium chromium-browser google-chrome google-chrome-stable || packages=chromium
any pdflatex tectonic || packages="$packages texlive-latex-recommended"
wanted="apt-get install --no-install-recommends $packages"
if [ -z "$packages" ]; then
    :
elif ! any apt-get; then
    echo "note: tests are skipped that need a Chromium or pdflatex: there is no apt-get here to install them with"
elif [ "$(id -u)" != 0 ]; then
    echo "note: tests are skipped that need a Chromium or pdflatex: only root can do: $wanted"
else
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # several words
    { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; } > /dev/null ||
        echo "note: tests are skipped that need a Chromium or pdflatex: this failed: $wanted"
fi

python -c 'import onnxruntime, rapidocr' 2> /dev/null || python -m pip install --quiet -e '.[peers]' ||
    echo "note: tests of outside readers are skipped: pip could not install the extra [peers]"
