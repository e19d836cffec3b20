"""The command line: what people and scripts type. It is light: what is heavy is imported when it is needed."""
