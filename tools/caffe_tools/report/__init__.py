"""The report of trainings: its runs, their evaluation, the page and its pictures."""
