"""What an alert was opened by: its picture and clip, and the list of alerts."""
