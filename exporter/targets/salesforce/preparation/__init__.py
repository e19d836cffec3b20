"""What is known before the first effect: the object, its fields, the cells, the keys and the Ids."""
