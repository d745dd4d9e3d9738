"""What has been measured -> which specs to try next."""
