"""What the bag of all versions is worth: one version made with it and without (section 3.2.3)."""
