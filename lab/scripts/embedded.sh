#!/bin/sh
# GitLab's own ruby and openssl trust what is in its own directory, and nothing that the system trusts (curl does both).
: "${SSL_CERT_FILE=/opt/gitlab/embedded/ssl/cert.pem}" "${SSL_CERT_DIR=/opt/gitlab/embedded/ssl/certs}"
export SSL_CERT_FILE SSL_CERT_DIR
exec "/usr/bin/${0##*/}" "$@"
