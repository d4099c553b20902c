"""How samples are judged, with protocols in the names of figures."""
