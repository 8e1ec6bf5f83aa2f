"""Row contracts: answers that are checked, and asked again."""
