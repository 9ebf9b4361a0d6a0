#!/bin/sh
# Makes configure from configure.ac.
cd "$(dirname "$0")" && mkdir -p contrib/m4 contrib/build-aux && exec autoreconf --install --force --warnings=all,no-obsolete
