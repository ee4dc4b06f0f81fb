"""The course as a product: the curriculum, README's generated parts, notebooks made from their text twins."""
