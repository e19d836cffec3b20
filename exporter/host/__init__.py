"""What the exporter asks of the machine: durable files, files that end, memory, signals."""
