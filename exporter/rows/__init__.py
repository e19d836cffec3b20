"""From a result's columns to the rows that are sent: sizes of batches, casts to text, mapping, forms of keys."""
