"""The command line: what people and scripts type. Each module is light; what is heavy is imported when it is needed."""
