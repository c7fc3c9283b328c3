"""Judge history again, and show the difference. The truth it keeps to is docs/rules.md."""
