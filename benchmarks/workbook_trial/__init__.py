"""What learners and authors do to a chapter, put together to cases, and whether anything of the learner's is lost."""
