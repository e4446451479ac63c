"""What is installed beside the extension: PyTorch and models, found, fetched, checked and removed."""

ONLINE_HINT = "Allow Online Access in Preferences > System > Network first"
