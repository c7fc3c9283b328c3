"""The report of a replay: one HTML page that stands alone. `write.write_report` writes it, `page.page_of` says what is
on it, `templates/report.html.j2` how it looks. Everything but `pictures` and `write` is pure."""
