package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"shoal/bench/internal/latency"
	"shoal/netio/table"
)

// peer is one way of doing the work.
type peer struct {
	name  string
	about string                                                   // for the reader of the table
	feed  bool                                                     // it does the loads that are streams, and no others
	skip  func(l load) bool                                        // loads that it does not do; nil: it does all
	serve func(l load, t *table.Table) (address string, err error) // in the server's process, until that ends
	dial  func(address string, l load) (driver driver, e error)    // in the client's process

	program string // whose child processes its server and client are; "": this program's
	role    string // its name in that program; "": name
}

// driver is a client that keeps a load up.
type driver interface {
	run(d time.Duration) (work, error)
}

// work is what a round has done.
type work struct {
	tasks     int                // or chunks
	offered   int                // tasks that were due, where that is by a schedule
	latencies *latency.Histogram // of messages; of chunks none
}

const (
	shoalFamily = "shoal" // the peers that ratios are taken of
	floorFamily = "floor" // what nobody would use
	gnetFamily  = "gnet"  // the engine alone, which nobody would use either
)

// peers are in the order in which they take turns.
var peers = slices.Concat(answering, feeding, zmqPeers)

// answering are those that answer tasks.
var answering = []peer{
	{name: "shoal-calls", about: "netio.Swarm.Call, a goroutine for each task in flight", skip: isBatch, serve: serveShoal, dial: dialShoalCalls},
	{name: "shoal-map", about: "one netio.Swarm.Map", serve: serveShoal, dial: dialShoalMap},
	{name: "shoal-user", about: "one netio.Swarm.Map, of a batch subroutine as an embedder writes it", serve: serveShoal, dial: dialShoalUser},
	{name: "floor", about: "net.Conn and bufio, a goroutine to write and one to read each connection", serve: serveFloor, dial: dialFloor},
	{name: "floor-calls", about: "the same server, a goroutine for each task in flight", skip: isBatch, serve: serveFloor, dial: dialFloorCalls},
	{name: "gnet", about: "raw gnet that answers on its event loops, the floor's client", serve: serveGnet, dial: dialFloor},
	{name: "gnet-calls", about: "the same server, the client of floor-calls", skip: isBatch, serve: serveGnet, dial: dialFloorCalls},
	{name: "netrpc", about: "net/rpc (gob), a goroutine for each message in flight", serve: serveNetRPC, dial: dialNetRPC},
	{name: "grpc-unary", about: "gRPC-Go, raw bytes, a goroutine for each message in flight", serve: serveGRPC, dial: dialGRPCUnary},
	{name: "grpc-stream", about: "gRPC-Go, raw bytes, one bidirectional stream a connection", serve: serveGRPC, dial: dialGRPCStream},
	{name: "nats", about: "NATS, Conn.Request, a goroutine for each message in flight", serve: serveNATS, dial: dialNATSCalls},
	{name: "nats-async", about: "NATS, PublishRequest and one inbox a connection", serve: serveNATS, dial: dialNATSPipe},
	{name: "drpc", about: "storj.io/drpc, raw bytes, one bidirectional stream a connection", serve: serveDRPC, dial: dialDRPC},
	{name: "http-1", about: "net/http, HTTP/1.1, a connection for each message in flight", serve: serveHTTP, dial: dialHTTP1},
	{name: "http-2", about: "net/http, HTTP/2 in plain text, a goroutine for each message in flight", serve: serveHTTP, dial: dialHTTP2},
}

// feeding are those that send streams.
var feeding = []peer{
	{name: "shoal-feed", about: "netio.Gateway.HandleStream and netio.Swarm.Stream", feed: true, serve: serveShoalFeed, dial: dialShoalFeed},
	{name: "floor-feed", about: "net.Conn and bufio", feed: true, serve: serveFloorFeed, dial: dialFloorFeed},
	{name: "grpc-feed", about: "gRPC-Go, raw bytes, one server stream a connection", feed: true, serve: serveGRPC, dial: dialGRPCFeed},
	{name: "nats-feed", about: "NATS, a subject a connection, acknowledged by windows", feed: true, serve: serveNATSFeed, dial: dialNATSFeed},
	{name: "drpc-feed", about: "storj.io/drpc, raw bytes, one server stream a connection", feed: true, serve: serveDRPC, dial: dialDRPCFeed},
	{name: "http-1-feed", about: "net/http, HTTP/1.1, a response a connection", feed: true, serve: serveHTTP, dial: dialHTTP1Feed},
	{name: "http-2-feed", about: "net/http, HTTP/2 in plain text, a response a connection", feed: true, serve: serveHTTP, dial: dialHTTP2Feed},
}

func isBatch(l load) bool { return l.Batch > 1 }

func (p peer) does(l load) bool { return p.feed == l.Stream && (p.skip == nil || !p.skip(l)) }

// family is the part of the name before the dash.
func (p peer) family() string {
	family, _, _ := strings.Cut(p.name, "-")
	return family
}

// isOther tells whether it is what a user would pick instead of shoal.
func (p peer) isOther() bool {
	return !slices.Contains([]string{shoalFamily, beforeFamily, floorFamily, gnetFamily}, p.family())
}

func findPeer(name string) (peer, error) {
	if i := slices.IndexFunc(peers, func(p peer) bool { return p.name == name }); i >= 0 {
		return peers[i], nil
	}
	return peer{}, fmt.Errorf("no peer %q", name)
}

// choosePeers returns those with these names or of these families, separated by commas; all for nothing.
func choosePeers(names string) ([]peer, error) {
	if names == "" {
		return peers, nil
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		if !slices.ContainsFunc(peers, func(p peer) bool { return p.name == name || p.family() == name }) {
			return nil, fmt.Errorf("no peer %q", name)
		}
		wanted[name] = true
	}
	return slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return !wanted[p.name] && !wanted[p.family()] }), nil
}

// chooseLoads returns those with these names, separated by commas; all for nothing.
func chooseLoads(names string) ([]load, error) {
	if names == "" {
		return loads, nil
	}
	var chosen []load
	for name := range strings.SplitSeq(names, ",") {
		l, err := findLoad(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, l)
	}
	return chosen, nil
}

// closeAll closes what was opened before something failed.
func closeAll[C io.Closer](opened []C) {
	for _, c := range opened {
		_ = c.Close()
	}
}
