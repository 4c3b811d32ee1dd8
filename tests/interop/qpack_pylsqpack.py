"""The second implementation of QPACK that ours is compared with: pylsqpack, driven line by line.

Reads one command from each line of standard input and answers with one line. Bytes are in hex, `-` if there are none;
field lines are `name:value` pairs in hex, separated by commas.

    new CAPACITY BLOCKED      a fresh connection        -> instructions of the encoder
    encode STREAM LINES       a section                 -> instructions of the encoder, the section
    decoder-stream BYTES      for the encoder           -> ok
    encoder-stream BYTES      for the decoder           -> streams that are not blocked any more, with commas
    section STREAM BYTES      for the decoder           -> blocked, or: instructions of the decoder, lines
    resume STREAM             a section that was blocked -> instructions of the decoder, lines
    cancel STREAM             a stream is given up      -> instructions of the decoder
"""

import sys

import pylsqpack


def to_hex(data):
    return data.hex() or "-"


def from_hex(text):
    return b"" if text == "-" else bytes.fromhex(text)


def to_lines(headers):
    return ",".join(f"{name.hex()}:{value.hex()}" for name, value in headers) or "-"


def from_lines(text):
    pairs = [] if text == "-" else [pair.split(":") for pair in text.split(",")]
    return [(bytes.fromhex(name), bytes.fromhex(value)) for name, value in pairs]


class Connection:
    def __init__(self, capacity, blocked):
        self.decoder = pylsqpack.Decoder(capacity, blocked)
        self.encoder = pylsqpack.Encoder()
        self.start = self.encoder.apply_settings(capacity, blocked)

    def answer(self, verb, arguments):
        match verb, arguments:
            case "encode", [stream, lines]:
                instructions, section = self.encoder.encode(int(stream), from_lines(lines))
                return f"{to_hex(instructions)} {to_hex(section)}"
            case "decoder-stream", [data]:
                self.encoder.feed_decoder(from_hex(data))
                return "ok"
            case "encoder-stream", [data]:
                streams = self.decoder.feed_encoder(from_hex(data))
                return ",".join(map(str, streams)) or "-"
            case "section", [stream, data]:
                try:
                    instructions, headers = self.decoder.feed_header(int(stream), from_hex(data))
                except pylsqpack.StreamBlocked:
                    return "blocked"
                return f"{to_hex(instructions)} {to_lines(headers)}"
            case "resume", [stream]:
                instructions, headers = self.decoder.resume_header(int(stream))
                return f"{to_hex(instructions)} {to_lines(headers)}"
            case "cancel", [stream]:
                return to_hex(self.decoder.cancel_stream(int(stream)))
            case _:
                raise ValueError(f"unknown command {verb} {arguments}")


def main():
    connection = None
    for command in sys.stdin:
        verb, *arguments = command.split()
        if verb == "new":
            connection = Connection(*map(int, arguments))
            answer = to_hex(connection.start)
        else:
            answer = connection.answer(verb, arguments)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
