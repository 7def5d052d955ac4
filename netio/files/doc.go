// Package files carries files over a swarm, both ways: whole trees, patterns, or one file to read. Files ride on the
// streams of package netio beside everything else; there is no second listener and no second protocol.
//
//	srv, err := files.Serve(gw, files.ServerConfig{Root: "/srv/data", Writable: true})
//	…
//	c := files.NewClient(swarm)
//	sum, err := c.Get(ctx, files.Selection{Patterns: []string{"logs/**/*.gz"}}, "backup", files.Options{})
//	sum, err = c.PutFolder(ctx, "site", files.Selection{Patterns: []string{"."}}, "www", files.Options{Delete: true})
//	r, err := c.OpenRemote(ctx, "logs/today.log")
//
// # The path of a file
//
// Both directions have a source, which is read (source.go, walk.go), and a target, which is written (target.go); the
// gateway is the one for get and the other for put. Nothing is hashed before it is sent.
//
//	get:  client's plan ← list stream ← walk at the gateway
//	      client's worker → get stream: a batch of names → sender at the gateway → chunks → receiver → target
//	put:  client's plan ← walk
//	      client's worker → put stream: a batch of entries → verdicts of the gateway's target → what it needs → receiver
//	then, either way: finish (folders get their modes and times, leftovers and what is to be deleted go)
//
// The plan (get.go, put.go) runs on the caller's goroutine and stays at most a few batches ahead of the workers
// (transfer.go), each of which has one stream open at a time; the swarm spreads the streams over its connections. Small
// files travel many to a chunk, and each in one chunk, so that it is read and written by one call. A file of 8 MiB or more
// is cut into ranges of 8 MiB, which several streams carry at once into one temporary file (get_large.go, put_large.go,
// server_large.go, partial.go).
//
// # Promises
//
//   - A file is written under a temporary name (.shoal-*.part) in its folder, checked against the hashes that came with
//     it, given its mode and time, flushed as Fsync asks, and then renamed. Nobody sees half a file.
//   - Content has an XXH3 hash of 128 bits for each block of 256 KiB, made as it is read for sending. It finds what went
//     wrong by accident, not what somebody made on purpose: client and gateway trust each other as far as content goes.
//   - A file that changes while it is read (its time or size says so) is read once more, then named as ErrChanged.
//   - The temporary file of a large file has a name that depends on the file alone. What an interrupted transfer left of
//     it is compared block by block; only blocks that differ are sent. Whoever writes a temporary file holds a lock on
//     it (flock); the next transfer into a folder removes those that nobody holds. After an interrupt or an error nothing
//     is left; after the loss of the other side, the large files that were under way are.
//   - Two transfers of one large file to one gateway: the later takes over, the earlier ends with ErrInUse. So the
//     session of a client that was killed holds nobody up.
//   - Names: every path from the wire is checked (names.go) and its folder opened through an os.Root, at both ends; the
//     last element is then used in that folder without following a link. Links that are absolute or may lead out of the
//     root, also together with another, are refused: those with .. after a name, too. Device files, fifos and sockets are
//     named and left out.
//   - While its files come, a folder is open to its owner, and to others no more than in the source; it gets its own mode
//     at the end. After an interrupt it stays like that.
//   - Delete spares what is excluded, also inside a folder that the source lacks, which stays then.
//   - Streams that a restart of the gateway ends are opened again, a few times; what they had finished stays.
//
// # Limits
//
// At the gateway: MaxTransfers streams run at once, of all clients together, each with at most five descriptors, one
// chunk of 64 KiB, one block of 256 KiB, an argument of at most 512 KiB and the stream's credit; MaxWaiting wait, the
// rest is refused as busy; MaxUploads large files are open, two descriptors each. Of a folder 4096 names are held at a
// time; a Delete needs the names of one folder, 262,144 at most. A chunk expands to 64 KiB at most. A regular expression
// has 1 KiB at most, and those of a request about 4 MiB once they are compiled; a file has 4 TiB at most.
//
// At the client: Options.Streams streams for batches and, for each of two large files, as many for ranges; the folders of
// the transfer are remembered until its end (with Delete and with several patterns, the names too); a thousand failures.
//
// Not kept: owners, hard links (each is a file), holes, access times, extended attributes, set-uid bits. Modes and times
// of the target folder itself are left alone.
//
// # The wire
//
// The subroutines are named shoal.files.*. Their arguments are described at the functions of Server (list, get, put,
// finish, large, takeRange), chunks and records in wire.go: whole records fill a chunk, which may be compressed as one,
// and its ident says how. A file in a stream is: data (d) and, after each block, its hash (h), then its end (a) with size,
// time and mode; or, instead of content, that it is the same (s) or differs (x); again (r) makes the receiver forget what
// has come of it; failed (f) ends it at any place.
package files
