"""The interactive parts of the chapters (ipywidgets): one module a topic. Imported by notebooks only."""
