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
// What breaks this specification is malformed: an entry that runs beyond its payload, a payload longer than what it holds,
// a list without an entry, a number that no table has. The receiver says goodbye with code 5 and closes the connection.
// "Ignored" means that a receiver goes on as if it had not come. What the text says that a side must not do, and does not
// call ignored, is malformed.
//
// The connection ends when either direction of the byte stream ends: a side that has closed its sending direction gets no
// answers any more.
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
//	bit 3      fields: the payload begins with fields (see Fields)
//	bit 4      more: the frame goes on in the next one (see Parts)
//	bits 5-7   zero
//
// The bit skippable means nothing on a kind that the receiver knows. A kind that only the other side may send is one
// that the receiver does not know. Kind 0 is malformed, skippable or not. Of a frame that is skipped nothing
// counts but its header, its parts and its compression, whose rules hold. Control frames have neither compression, nor
// fields, nor more.
//
// A compressed payload is a u32, the size of the payload once expanded, then the compressed bytes. The formats are the
// block format of S2 (see there) and exactly one RFC 8878 frame, without a dictionary and with a window of at most 8 MiB,
// nothing before or behind it. What expands to another size than said is malformed. Both the length in the header and the
// expanded size are at most the receiver's frame limit (until the welcome: 4096), and the expanded size is at most 1024
// times the length in the header; more is malformed. A side compresses only with a feature of the welcome, and need never
// compress; a frame compressed otherwise is malformed, also one that is skipped.
//
// # Parts
//
// A sequenced frame may be sent in parts: frames of the same kind and flags, each with a header of its own, all but the
// last with the flag more. The payload is that of the parts one after another; compression and fields are of the whole.
// A part with the flag more has at least one byte. Between the parts there is no other sequenced frame; control frames may
// stand there. The payloads of all parts are together at most the receiver's frame limit. Each part is a frame in the
// lane's sequence and counts as received by itself, so a connection that breaks again and again gets a large frame
// through: the next one goes on after the last part that arrived. What lies beyond the count that the other side names
// then may be in other parts than before: none of it has been received. When a lane begins anew, what has arrived of a frame
// in parts is dropped.
//
// A sender chooses where to part. A good choice: above 64 KiB, and in ever smaller parts while connections break before
// one part is through.
//
// # Fields
//
// A frame of tasks, results, open or end with the flag fields begins with a u16, the number of bytes of fields that
// follow, at least 1 and at most 4096, then the fields, then the payload that the frame has without the flag. A frame
// of another kind that the receiver knows must not have the flag. A field is a u16 type, a u16 length, then so many bytes.
// The types come in ascending order, none of them twice. A receiver ignores a type that it does not know, or that the table
// does not name for the kind. If bit 15 of such a type is set, a gateway answers the tasks or the stream with status 10 and
// code 4, and a client takes the frame for malformed. An end of the client's has no fields.
//
//	type  name             in                         value
//	5     retry after      results, end               u32: milliseconds that the client had better wait before it tries
//	                                                  again what has status 5 (busy) here
//	16    metadata         tasks, open, results, end  pairs for the subroutine or the caller: each a u8 length, from 1, and
//	                                                  the key, then a u16 length and the value; at least one pair; keys in
//	                                                  ascending order of their bytes, none twice
//	17    idempotency key  tasks, open                1 to 64 bytes that name what is asked for; such a frame of tasks has
//	                                                  exactly one task
//	18    class            tasks, open                u8: 0 bulk, 1 as without the field, 2 urgent
//
// A value of another length or form is malformed, as is a class above 2. Fields are of the whole frame: the metadata is that
// of each task in it. Metadata is passed on as it is; keys that begin with "shoal." are for later versions. The idempotency key and the class
// are wishes: a gateway may answer what has a key that it has seen before without running it again, and may serve a higher
// class of a client before its lower ones. It never has to.
//
// # Kinds
//
// Kinds below 0x10 are control frames: they belong to one connection. Kinds from 0x10 up are sequenced frames: they
// belong to the lane, see there; those that are skipped too.
//
//	kind  name      from      payload
//	0x01  hello     client    who I am, what I can do
//	0x02  welcome   gateway   what is agreed
//	0x03  goodbye   both      a code, a text and extensions; nothing follows it
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
// client sends nothing else until it has the welcome. The payload of hello, welcome and goodbye is at most 4096 bytes, in
// this and in every later version. Unknown flags and features of either are ignored. The frame header, the magic and the two
// versions of hello, and the code of goodbye will stay where they are in every later version; so a gateway that does not
// know the client's version can say so.
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
//	38   u16  flags: bit 0, resume: the lane was welcomed before, and the client counts on what was sent there; without a
//	          session 0
//	40   u64  received: bytes of sequenced frames that the client has received on this lane, whole frames only; without
//	          resume 0
//	48   u64  clock: milliseconds on a clock of the client's that never goes back, at most 2^42 (see Deadlines)
//	56        extensions
//
//	welcome
//	0    4    the bytes "SHOL"
//	4    u16  the version to speak from here: the highest that both know (1)
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
// Extensions fill the rest of the payload, one after another: u16 type, u16 length, then so many bytes. The types come in
// ascending order, none of them twice. A receiver ignores a type that it does not know, or that the table does not name for
// the frame, unless bit 15 of the type is set: then a gateway says goodbye with code 4 (not allowed), and a client takes the
// welcome for malformed; in a goodbye it is ignored. A value of another length or form is malformed.
//
//	type  name        in              value
//	1     begun       hello           u64: the clock of the hello by which the lane began (see Lanes)
//	2     key         welcome         32 random bytes: the key of the lane; in each welcome that answers a session and
//	                                  does not say resumed, and in no other
//	3     proof       hello           32 bytes: HMAC-SHA256 with the key of the lane, over the session id, the lane,
//	                                  received and clock of this hello, and begun, in this order and as they stand in it,
//	                                  and the SHA-256 of the credential (of no bytes where there is none): 74 bytes
//	4     credential  hello           1 to 2048 bytes by which the gateway knows the client; what they are is between the two
//	5     retry after goodbye         u32: milliseconds that the client had better wait before it connects again; with code 1
//	6     successor   goodbye         text, 1 to 255 bytes: the URL (tcp://host:port, unix:///path) of the gateway to go to;
//	                                  with code 2
//	7     credit      hello, welcome  u32, above 0: bytes of chunks that the other side may send on all streams of the lane
//	                                  together before it is given more (see Streams); where absent, only the streams' own
//	                                  credit counts
//
// Begun and proof are in a hello together or not at all, and only with a session. A hello with resume has them.
//
//	goodbye
//	0    u16  code
//	2    u16  length of the text
//	4         text for a person
//	          extensions
//
//	code  name              meaning
//	0     done              the sender is finished; from a client it also ends the session's lane and cancels its tasks
//	1     full              the gateway serves as many connections, sessions or lanes as it may; try later
//	2     draining          the gateway is about to stop; connect to its successor, or to the same address later
//	3     version           no version in common
//	4     not allowed       the gateway does not want this client, or it has not proven to be the lane's
//	5     malformed         a frame broke this specification
//	6     idle              nothing arrived for too long, or no hello in time
//	7     superseded        another connection has taken over this lane
//	8     slow              what was sent was not read for too long
//	9     internal          the sender met an error of its own
//
// The side that says goodbye closes the connection once it is sent; the side that hears it closes too, without an answer. A
// code that is not in the table is like 9. A connection may also end without any goodbye.
//
// A goodbye in answer to a hello leaves the lane of that hello as it is, whatever the code. With code 1, 2, 6, 7, 8 or 9 the
// client may try again, after a pause that grows; with the others it will be refused again. A client that hears code 2 with
// a successor had better go there, and come back to the address that it was given if nobody welcomes it there.
//
// # Lanes: nothing lost, nothing twice
//
// A session is a client's swarm of connections; its lanes are numbered, each lane has one connection at a time, and its
// own ids of tasks and of streams. The sequenced frames of a lane, each direction by itself, form one endless byte
// sequence (headers and payloads as sent, compressed or not), which outlives the connection that carries it:
//
//   - Each side counts the bytes of whole sequenced frames that it has received: its received count.
//
//   - It tells that count in ack frames, which may stand between any two frames: at the latest when 64 KiB have arrived since
//     it last told, better with each burst that it writes, and before a ping and a pong.
//
//   - A gateway that keeps more than a bound of its own for a client that does not acknowledge runs no more of its tasks, and
//     its streams send no more, until it does. A client that goes on using ids again, of tasks or of streams, without
//     telling what has arrived of their answers, is taken for malformed when the gateway has, above that bound, more answers
//     without a run and ends of streams unacknowledged than twice its window and its streams together, and 14562 more.
//
//   - Each side keeps what it has sent until it is acknowledged. A received count may be told twice and late; the
//     highest counts. A count above what was sent is malformed, and so is one in a handshake that is below the highest
//     that was told, or not between two frames.
//
//   - When a connection is lost, the client connects again, with the same session id and lane, resume set, and its
//     received count. Features, frame limit, stream credit and credit of the lane are those of the hello and the welcome by
//     which it began: those of a hello with resume are ignored where it is resumed, and the welcome repeats them; what was
//     given of the credits stays given. The gateway drops what is left of the old connection, answers with resumed set
//     and its own received count, and both go on sending from the other's count: nothing is lost, nothing is done twice.
//
//   - When resumed is not set though resume was, the gateway does not know the lane: it has another life, or the
//     session stayed away too long. Both counts start again from 0 and all streams are gone. What became of the
//     unanswered tasks is unknown.
//
//   - A hello without resume, for a lane that the gateway knows, ends that lane and begins it anew.
//
//   - A session id is no secret; the key of a lane is one: it is sent once, in the welcome by which the lane begins. A hello
//     with resume carries begun and proof. For a lane on which anything has come after its welcome, any other hello carries
//     them too, as its client has the key; without the right ones it is refused with code 4. The proof covers the credential
//     of its hello: nobody who has only one of the two gets the lane. A client may resume with another credential; what it
//     may do is decided by the latest.
//
//   - A hello may be overtaken by a later one, and a welcome may never arrive. So each hello of a lane has a higher
//     clock than the one before: a hello whose clock is not above that of the lane's latest is refused with code 7. The client
//     tries again with a higher clock if this was its own latest hello, and lets the lane be if another connection of its
//     own has it. And a hello with resume names, in the extension begun, the hello by which the lane began: the latest
//     whose welcome arrived and did not say resumed. If the lane that the gateway knows began by another, and nothing has
//     come on it after its welcome, the client has not heard of it, and it is as if the gateway did not know the lane.
//
// The payload of an ack:
//
//	ack
//	0    u64  received
//
// A lane without a connection lives as long as the gateway allows; then its tasks are cancelled. A goodbye after the welcome
// ends it at once, but for those of the gateway with code 6, 7 or 8, which end the connection alone. With a session id of
// zeros there is no resuming: the client need send no acks, and passes over those that come; everything of the connection
// is cancelled when it ends. A simple client does this.
//
// # Tasks
//
// A task is one call. Its id is a number below the window of the welcome, chosen by the client, not in use by another
// unanswered task of the lane; it is free again when its result has come. So the ids are slots, and the window is kept
// by keeping to them. Another id, or more bytes than the window, is malformed. The window in bytes counts the bytes of each
// task alone: not the 8 before them, the name or the fields. A result for an id that is not in use is malformed.
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
//	10      not allowed          no: the gateway does not allow this client to ask for it, or cannot do what a field asks for
//
// Status 9 and those above 10 are malformed. A subroutine may end with any status; those above say for sure that it did
// not run only where the gateway itself gives them.
//
// The bytes of a result whose status is not ok, if there are any, are an error. A client may show what does not have this
// form as it is:
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
//	4           unknown field: the frame had one that the gateway does not know, with bit 15 of its type set
//	5 to 1023   reserved; passed on like the others
//	from 1024   the subroutine's own
//
// # Deadlines
//
// A deadline is a reading of the client's own clock, so the two sides' clocks need not agree: from the clock in the
// hello the gateway learns the difference, anew for each connection; a task or stream that has arrived keeps what its
// connection said. A frame that is sent again after an outage thus keeps its deadline. The gateway answers timeout when the
// deadline passes, at once where it already has, and lets the subroutine know. A deadline above 2^42 is malformed.
//
// # Streams
//
// A stream carries chunks in one direction or both. The client opens it with an id below the streams of the welcome
// that is not in use (another is malformed); the id is free again when the gateway's end has come. Ids of streams and
// of tasks are apart. A stream that the gateway refuses gets its end at once, with the status that a task would get. An end
// for an id that is not in use is malformed for a client; what else comes to either side for such an id is ignored, since it
// may have crossed the gateway's end.
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
//	0         one or more: u32 stream (2^32-1: the lane), u32 bytes
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
// receiver gives the credit back, length plus 16, as the chunks are consumed; it may give more, or 0. A stream never has more
// than 2^40 of it. Credit for a direction in which the shape has no chunks is malformed.
//
// Where the receiver has named a credit for the lane (extension 7), chunks of all streams use that up too, and are sent only
// while both are above zero. It is given back with 2^32-1 in place of the stream, for chunks that were consumed, that were
// dropped, and those of streams that are over. Credit for a lane for which none was named is malformed, as is more than
// 2^40 of it.
//
// The client's end (status ok, no bytes, no fields, once) says that no more chunks come from it; in shape 1 it sends neither
// chunks nor an end, and in shape 2 the gateway sends no chunks. The gateway's end is the terminal status of the stream,
// whether or not the client has ended: its bytes are the answer of a send, or an error as in results. There is exactly one,
// also after an abort, with any status. Nothing of the stream follows it from the gateway.
//
// After its own end a client still gives credit for the chunks that it receives; credit that it is given then is ignored,
// since it sends no more. After its abort it sends nothing more on the stream; what it sends all the same is ignored.
//
// # Pings
//
// Either side may send ping; the other answers pong with the same bytes at once, ahead of all queued frames. While more than
// 64 KiB of control frames wait to be sent, pings are not answered: who does not read, or pings faster than the way takes
// it, gets fewer pongs than it sent pings. A pong without a ping is ignored. A client pings at least each third of the idle
// timeout when it has nothing else to send. More than 1024 bytes, in a ping or in a pong, are malformed.
//
// # Drain
//
//	drain
//	0    u32  milliseconds until the gateway closes at the latest
//
// From then on new tasks and streams, and tasks that have not begun, are answered with status draining; what runs is
// finished and answered, and acknowledged by the client, if it has a session: it had better send an ack with each burst now.
// Then, or when the time is over, the gateway says goodbye with code 2, and before it, in an ack, how much has arrived. That
// ack is the last word: tasks in frames beyond it were not run and never will be. Where the frame at that place is in parts,
// it was not run either.
//
// # Built-in subroutines
//
// Names that begin with "shoal." are the gateway's own. Every gateway has these calls, whose argument is ignored. The answers
// are JSON. Later versions may add names to an object.
//
//	shoal.list    the subroutines that a client may ask for, by name: [{"name": "square", "shape": "call", "description": "..."}];
//	              shape is call, stream, send or duplex; an empty description is left out
//	shoal.stats   what the gateway does now, and totals since its start: {"Handlers": 2, "Running": 1, "Held": 0, "Queued": 0,
//	              "Streams": 0, "Tasks": 100, "Panics": 0, "Workers": 1024}: lanes; tasks that run, that wait without a
//	              thread, that wait for a worker; streams; tasks taken; panics; tasks that may run or be held at once
//	shoal.stop    the gateway drains and ends; no bytes; status 10 where clients may not ask for that
//
// # S2 blocks
//
// A block is the uncompressed size as a varint (7 bits a byte, the lowest first, bit 7 set in all but the last byte), then
// elements until that many bytes are there. The two lowest bits of an element's first byte, its tag, say which one it is:
//
//	0  literal: length-1 in the six upper bits; 60 to 63: in the 1 to 4 bytes that follow, little-endian; then the bytes
//	1  copy: length-4 in bits 2 to 4; the offset is 11 bits: bits 5 to 7, then a byte with the lower 8
//	2  copy: length-1 in the six upper bits, then the offset as u16
//	3  copy: length-1 in the six upper bits, then the offset as u32
//
// A copy repeats length bytes from offset bytes back, which may overlap what it writes. In element 1 an offset of 0 is the
// offset of the copy before, with the length of bits 2 to 4: 0 to 4 mean 4 to 8; 5, 6 and 7 mean 8, 260 and 65540 more than
// the 1, 2 or 3 bytes that follow (little-endian). An offset of 0 elsewhere, or from before the block's first byte, is
// malformed. That is Snappy's block format, but for the repeated offset, which a Snappy encoder never writes.
package proto
