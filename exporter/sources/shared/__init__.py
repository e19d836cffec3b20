"""What several sources share: columns of a result, times as Trino writes them, messages without values."""
