#!/bin/bash
# What GitLab's images run once at an instance's first boot (support/packer/ami-startup-script.sh of omnibus-gitlab):
# the public address becomes the external URL if nobody has chosen another, and GitLab is configured with it.
# Simulated: it asks the metadata service without a token, so that where tokens are required the URL stays the
# placeholder. Not simulated: in that case the real script also spoils its own `gitlab-ctl reconfigure`.
metadata=http://127.0.0.169/latest/meta-data

address=$(curl -s "$metadata/public-hostname")
[ -n "$address" ] || address=$(curl -s "$metadata/public-ipv4")
case $address in
'' | *'<?xml'*) ;;
*) sed -i "s!^external_url 'http://gitlab.example.com'!external_url 'http://$address'!" /etc/gitlab/gitlab.rb ;;
esac
gitlab-ctl reconfigure
