"""The engine of the exercises: it knows no chapter. See ``course_lib.exercises`` for how to declare one."""
