"""S2 blocks: decoding as the specification says, and an encoder that writes literals alone."""
import wire


def decode(src, limit):
    """The bytes of one block."""
    n = shift = i = 0
    while True:
        if i >= len(src) or shift > 35:
            raise wire.Malformed("s2: length")
        c = src[i]
        i += 1
        n |= (c & 0x7f) << shift
        shift += 7
        if c < 0x80:
            break
    if n > limit:
        raise wire.Malformed("s2: expands to %d" % n)
    out, offset = bytearray(), 0
    try:
        while i < len(src):
            c = src[i]
            tag, i = c & 3, i + 1
            if tag == 0:
                size = c >> 2
                if size >= 60:
                    k = size - 59
                    if i + k > len(src):
                        raise wire.Malformed("s2: literal")
                    size = int.from_bytes(src[i:i + k], "little")
                    i += k
                size += 1
                if i + size > len(src):
                    raise wire.Malformed("s2: literal")
                out += src[i:i + size]
                i += size
                continue
            if tag == 1:
                size, off = c >> 2 & 7, (c & 0xe0) << 3 | src[i]
                i += 1
                if off == 0:            # S2: the offset before
                    if size == 5:
                        size = src[i] + 4
                        i += 1
                    elif size == 6:
                        size = (src[i] | src[i + 1] << 8) + (1 << 8)
                        i += 2
                    elif size == 7:
                        size = (src[i] | src[i + 1] << 8 | src[i + 2] << 16) + (1 << 16)
                        i += 3
                else:
                    offset = off
                size += 4
            elif tag == 2:
                size, offset = (c >> 2) + 1, src[i] | src[i + 1] << 8
                i += 2
            else:
                size, offset = (c >> 2) + 1, int.from_bytes(src[i:i + 4], "little")
                i += 4
            if offset <= 0 or offset > len(out) or len(out) + size > n:
                raise wire.Malformed("s2: copy")
            start = len(out) - offset
            if offset >= size:
                out += out[start:start + size]
            else:
                piece = bytes(out[start:])
                out += (piece * (size // offset + 1))[:size]
    except IndexError:
        raise wire.Malformed("s2: cut short")
    if len(out) != n:
        raise wire.Malformed("s2: %d bytes, said %d" % (len(out), n))
    return bytes(out)


def _varint(n):
    b = bytearray()
    while n >= 0x80:
        b.append(n & 0x7f | 0x80)
        n >>= 7
    b.append(n)
    return bytes(b)


def encode(data):
    """A valid block that does not compress: literals alone (with runs of one byte as copies, to shrink something)."""
    out, i = bytearray(_varint(len(data))), 0
    while i < len(data):
        piece = data[i:i + 65536]
        n = len(piece) - 1
        if n < 60:
            out.append(n << 2)
        elif n < 256:
            out += bytes([60 << 2, n])
        else:
            out += bytes([61 << 2]) + wire.U16.pack(n)
        out += piece
        i += len(piece)
    return bytes(out)
