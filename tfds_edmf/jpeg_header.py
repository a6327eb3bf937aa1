"""The size of a JPEG file's picture, from its header."""

# Markers of JPEG frame headers: 0xC0…0xCF without the three other segments in that range (DHT, JPG, DAC).
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) [px] from a JPEG file's frame header, without decoding; None if it has no such header."""
    position = 2
    if data[:position] != b"\xff\xd8":
        return None
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # padding between segments
            position += 1
        elif marker in _FRAME_MARKERS:
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            return int.from_bytes(height), int.from_bytes(width)
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return None
