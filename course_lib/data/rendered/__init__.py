"""RenderedSigns: traffic signs that the course draws itself, offline, in seconds, from a seed (see ``renderer``)."""

from course_lib.data.rendered.renderer import ATTRIBUTES, load_rendered, render_split

__all__ = ["ATTRIBUTES", "load_rendered", "render_split"]
