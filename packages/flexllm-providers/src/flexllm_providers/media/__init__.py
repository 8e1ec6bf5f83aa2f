"""Images, audio, video and files: local and remote ones become data URIs, within a policy."""
