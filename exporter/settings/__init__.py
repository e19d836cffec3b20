"""The settings of connections and exports, checked. Their face is ``connection``. Pure."""
