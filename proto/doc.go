// Package proto is the wire format of shoal: pure functions between bytes and values, no I/O and no state. This
// comment is the specification; a client or a gateway can be written from it alone.
//
// # Conventions
//
// All integers are unsigned and little-endian unless said otherwise; u8, u16, u32, u64 are 1, 2, 4, 8 bytes; i64 is
// two's complement. Offsets are from the start of the payload. "bytes" without a length run to the end of the
// payload. Texts are UTF-8; a receiver need not check it. A length may be 0 where no least one is given. All of it runs
// over a reliable ordered byte stream (TCP, a unix socket).
//
// Whatever breaks this specification is malformed: an entry that runs beyond its payload, a payload longer than its
// fields, a list without an entry, a number that no table has. Who meets it says goodbye with code 5 and closes the
// connection. Exceptions, so that later versions can add to it, are named where they apply.
//
// # Frame
//
// Everything on a connection, in both directions, is a sequence of frames without gaps: a header of 8 bytes, then a
// payload.
//
//	offset size
//	0      u32   length of the payload, the header not counted
//	4      u8    kind
//	5      u8    flags
//	6      u16   reserved, zero
//
// flags:
//
//	bit 0      skippable: a receiver that does not know the kind skips the frame; without it, such a kind is malformed
//	bits 1-2   compression of the payload: 0 none, 1 S2 block, 2 zstd frame, 3 malformed
//	bits 3-7   zero
//
// The bit skippable means nothing on a kind that the receiver knows. A kind that only the other side may send is one
// that the receiver does not know. Kind 0 is malformed, skippable or not.
//
// A compressed payload is a u32, the size of the payload once expanded, then the compressed bytes. The formats are the
// block format of S2 (an extension of Snappy's; a Snappy block is a valid S2 block) and exactly one RFC 8878 frame,
// without a dictionary and with a window of at most 8 MiB, nothing before or behind it. What expands to another size
// than said is malformed. Both the length in the header and the expanded size are at most the receiver's frame limit
// (until the welcome: 4096), and the expanded size is at most 1024 times the length in the header; more is malformed. A
// side compresses only with a feature of the welcome, and need never compress; a frame compressed otherwise is malformed.
// Handshake and control frames are never compressed.
//
// Kinds below 0x10 are control frames: they belong to one connection. Kinds from 0x10 up are sequenced frames: they
// belong to the lane, see there; those that are skipped too.
//
//	kind  name      from      payload
//	0x01  hello     client    who I am, what I can do
//	0x02  welcome   gateway   what is agreed
//	0x03  goodbye   both      a code and a text; nothing follows it
//	0x04  ack       both      how much of the lane has arrived
//	0x05  ping      both      0 to 1024 bytes
//	0x06  pong      both      the same bytes
//	0x07  drain     gateway   no new work, please
//	0x10  tasks     client    many calls of one subroutine
//	0x11  results   gateway   many answers
//	0x12  cancel    client    ids of tasks
//	0x13  open      client    opens a stream
//	0x14  chunks    both      pieces of streams
//	0x15  credit    both      leave to send more on streams
//	0x16  end       both      the end of one direction of a stream
//	0x17  abort     client    ends a stream early
//
// # Handshake
//
// The client connects and sends hello at once, and only once. The gateway answers welcome, or goodbye and closes. The
// client sends nothing else until it has the welcome. The payload of hello, welcome and goodbye is at most 4096 bytes.
// Unknown flags and features of either are ignored. The frame header, and the magic and the two versions of hello, will
// stay where they are in every later version; so a gateway that does not know the client's version can say so.
//
//	hello
//	0    4    the bytes "SHOL"
//	4    u16  lowest protocol version that the client speaks (1)
//	6    u16  highest (1)
//	8    u32  features that the client has and wants: bit 0 S2, bit 1 zstd
//	12   u32  frame limit: the largest payload, expanded, that the client accepts, at least 4096
//	16   u32  stream credit: bytes that the gateway may send on a new stream before it is given more
//	20   16   session id: random bytes; all zero: no session (see Lanes)
//	36   u16  lane: which of the session's connections this is, from 0; without a session 0
//	38   u16  flags: bit 0, resume: the lane was welcomed before, and the client counts on what was sent there
//	40   u64  received: bytes of sequenced frames that the client has received on this lane, whole frames only; without
//	          resume 0
//	48   u64  clock: milliseconds on a clock of the client's that never goes back, at most 2^42 (see Deadlines)
//	56        extensions
//
//	welcome
//	0    4    the bytes "SHOL"
//	4    u16  the version to speak from here: the highest that both know
//	6    u16  flags: bit 0, resumed: the gateway knows this lane and goes on with it; bit 1, draining
//	8    u32  features that both sides have and want
//	12   u32  frame limit of the gateway, at least 4096
//	16   u32  stream credit: bytes that the client may send on a new stream before it is given more
//	20   u32  window: the ids of tasks are below this number
//	24   u32  streams: the ids of streams are below this number
//	28   u64  window in bytes: the bytes of all unanswered tasks of this lane, headers not counted, are at most this
//	36   u32  idle timeout in milliseconds, above 0: the gateway closes a connection from which nothing came for so long
//	40   16   life: random bytes, other ones each time a gateway starts
//	56   u64  received: bytes of sequenced frames that the gateway has received on this lane; if not resumed 0
//	64        extensions
//
// Extensions fill the rest of the payload, one after another: u16 type, u16 length, then so many bytes. A receiver
// ignores a type that it does not know, unless bit 15 of the type is set: then it says goodbye with code 4 (not
// allowed).
//
//	type  name   in       value
//	1     begun  hello    u64: the clock of the hello by which the lane began (see Lanes)
//	2     key    welcome  32 random bytes: the key of the lane; where the hello names a session and resumed is not set
//	3     proof  hello    32 bytes: HMAC-SHA256 with the key of the lane, over the session id, the lane, received and clock of
//	                      this hello, and begun, in this order and as they stand in it: 42 bytes
//
//	goodbye
//	0    u16  code
//	2         text for a person
//
//	code  name              meaning
//	0     done              the sender is finished; from a client it also ends the session's lane and cancels its tasks
//	1     full              the gateway serves as many connections, sessions or lanes as it may; try later
//	2     draining          the gateway is about to stop; connect to its successor
//	3     version           no version in common
//	4     not allowed       the gateway does not want this client
//	5     malformed         a frame broke this specification
//	6     idle              nothing arrived for too long, or no hello in time
//	7     superseded        another connection has taken over this lane
//	8     slow              what was sent was not read for too long
//	9     internal          the sender met an error of its own
//
// Who says goodbye closes the connection once it is sent; who hears it closes too, without an answer. A code that is not
// in the table is like 9. A connection may also end without any goodbye.
//
// # Lanes: nothing lost, nothing twice
//
// A session is a client's swarm of connections; its lanes are numbered, each lane has one connection at a time, and its
// own ids of tasks and of streams. The sequenced frames of a lane, each direction by itself, form one endless byte
// sequence (headers and payloads as sent, compressed or not), which outlives the connection that carries it:
//
//   - Each side counts the bytes of whole sequenced frames that it has received: its received count.
//
//   - It tells that count in ack frames: at the latest when 64 KiB have arrived since it last told, better with each
//     burst that it writes, and before a ping and a pong.
//
//   - A client that goes on using ids again, of tasks or of streams, without telling what has arrived of their answers, is
//     taken for malformed when the gateway keeps more of these than the ids allow.
//
//   - Each side keeps what it has sent until it is acknowledged. A received count may be told twice and late; the
//     highest counts. A count above what was sent is malformed, and so is one in a handshake that is below an earlier
//     one or not between two frames.
//
//   - When a connection is lost, the client connects again, with the same session id and lane, resume set, and its
//     received count. Features, frame limit and stream credit are those of the lane's first hello; open streams keep
//     the credit that they have. The gateway drops what is left of the old connection, answers with resumed set and its
//     own received count, and both go on sending from the other's count: nothing is lost, nothing is done twice.
//
//   - When resumed is not set though resume was, the gateway does not know the lane: it has another life, or the
//     session stayed away too long. Both counts start again from 0 and all streams are gone. What became of the
//     unanswered tasks is unknown.
//
//   - A hello without resume, for a lane that the gateway knows, ends that lane and begins it anew.
//
//   - A session id is no secret; the key of a lane is one: it is sent once, in the welcome by which the lane begins. A hello
//     with resume carries begun and proof. For a lane on which anything has come after its welcome, any other hello carries
//     them too, as its client has the key; without the right ones it is refused with code 4 and changes nothing.
//
//   - A hello may be overtaken by a later one, and a welcome may never arrive. So each hello of a lane has a higher
//     clock than the one before: a hello whose clock is not above that of the lane's latest is refused with code 7, and
//     changes nothing. And a hello with resume names, in the extension begun, the hello by which the lane began: the
//     latest whose welcome arrived and did not say resumed. If the lane that the gateway knows began by another, the
//     client has not heard of it, and it is as if the gateway did not know the lane.
//
// The payload of an ack:
//
//	ack
//	0    u64  received
//
// A lane without a connection lives as long as the gateway allows; then its tasks are cancelled. A goodbye ends it at
// once, but for those of the gateway with code 6, 7 or 8, which end the connection alone. With a session id of zeros
// there is no resuming: the client need send no acks, and passes over those that come; everything of the connection is
// cancelled when it ends. A simple client does this.
//
// # Tasks
//
// A task is one call. Its id is a number below the window of the welcome, chosen by the client, not in use by another
// unanswered task of the lane; it is free again when its result has come. So the ids are slots, and the window is kept
// by keeping to them. Another id, or more bytes than the window, is malformed.
//
//	tasks
//	0    u64  deadline on the client's clock in milliseconds, 0: none, at most 2^42
//	8    u8   length of the subroutine's name, 1 to 255
//	9         the name
//	          one or more tasks: u32 id, u32 length, so many bytes
//
//	results
//	0         one or more results: u32 id, u8 status, u32 length, so many bytes
//
//	cancel
//	0         one or more ids, u32 each
//
// Each task gets exactly one result, in any order and with those of other frames, also after a cancel (whose result may
// then be any status: it may have been too late). An id in cancel that is not in use is ignored.
//
//	status  name                 did it run?
//	0       ok                   yes; the bytes are the answer
//	1       failed               yes; the subroutine returned an error
//	2       panicked             yes; the subroutine panicked
//	3       timeout              perhaps: the deadline passed before it was done
//	4       canceled             perhaps: it was cancelled before it was done
//	5       busy                 no: the gateway's queue is full; try again later
//	6       draining             no: the gateway is about to stop
//	7       unknown subroutine   no: no subroutine of that name
//	8       unknown task         yes, and it does not know such a task (the table does not have it)
//	9       lost                 never on the wire: what a client says of a task whose outcome it cannot know
//	10      not allowed          no: the gateway does not allow this client to ask for it
//
// Status 9 and those above 10 are malformed.
//
// The bytes of a result whose status is not ok, if there are any, are an error:
//
//	0    u16  code, see below
//	2    u16  length of the text
//	4         the text, then details: bytes between the subroutine and its callers
//
//	code        meaning
//	0           none given
//	1           too large: the answer is above the frame limit of the client
//	2           wrong shape: the subroutine is a stream and was called, or the reverse
//	3           bad argument: the subroutine could not read its argument
//	4 to 1023   reserved; passed on like the others
//	from 1024   the subroutine's own
//
// # Deadlines
//
// A deadline is a reading of the client's own clock, so the two sides' clocks need not agree: from the clock in the
// hello the gateway learns the difference, anew for each connection. A frame that is sent again after an outage thus
// keeps its deadline. The gateway answers timeout when the deadline passes, at once where it already has, and lets the
// subroutine know.
//
// # Streams
//
// A stream carries chunks in one direction or both. The client opens it with an id below the streams of the welcome
// that is not in use (another is malformed); the id is free again when the gateway's end has come. Ids of streams and
// of tasks are apart. A stream that the gateway refuses gets its end at once, with the status that a task would get.
//
//	open
//	0    u32  stream
//	4    u64  deadline, as in tasks
//	12   u8   shape: 1 stream (chunks to the client), 2 send (chunks to the gateway), 3 duplex (both)
//	13   u8   length of the subroutine's name, 1 to 255
//	14        the name, then the argument
//
//	chunks
//	0         one or more chunks: u32 stream, i64 ident, u32 length, so many bytes
//
//	credit
//	0         one or more: u32 stream, u32 bytes
//
//	end
//	0    u32  stream
//	4    u8   status, as in results
//	5         bytes, as in results
//
//	abort
//	0    u32  stream
//	4    u8   status to end with: 3 timeout or 4 canceled
//
// A chunk's ident is a number of the sender's choosing. Chunks of one stream arrive in the order in which they were
// sent; those of several may share a frame.
//
// Each direction of a stream starts with the credit named in the handshake by the side that receives. A chunk uses up
// its length plus 16. While the credit is above zero a chunk may be sent, and may take it below zero once; so the
// receiver buffers at most its credit and one chunk, which with its 16 bytes is never larger than the frame limit. The
// receiver gives the credit back, length plus 16, as the chunks are consumed; a stream never has more than 2^40 of it.
// Breaking any of this is malformed.
//
// The client's end (status ok, no bytes) says that no more chunks come from it; in shape 1 it sends neither chunks nor
// an end, and in shape 2 the gateway sends no chunks. The gateway's end is the terminal status of the stream, whether or
// not the client has ended: its bytes are the answer of a send, or an error as in results. There is exactly one, also
// after an abort, with any status. Nothing of the stream follows it from the gateway.
//
// A client must not send an abort, chunks, credit or an end after it has received the gateway's end, nor chunks after
// its own. What crosses the gateway's end on the way is dropped there; so is credit for chunks that a client receives
// after its own end.
//
// # Pings
//
// Either side may send ping; the other answers pong with the same bytes at once, ahead of all queued frames. A client
// pings at least each third of the idle timeout when it has nothing else to send. More than 1024 bytes are malformed.
//
// # Drain
//
//	drain
//	0    u32  milliseconds until the gateway closes at the latest
//
// From then on new tasks and streams, and tasks that have not begun, are answered with status draining; what runs is
// finished and answered, and
// acknowledged by the client, if it has a session: it had better send an ack with each burst now. Then, or
// when the time is over, the gateway says goodbye with code 2, and before it, in an ack, how much has arrived. That ack
// is the last word: tasks in frames beyond it were not run and never will be.
package proto
