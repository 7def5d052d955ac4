// Package cluster lets the gateways of a fleet find each other, by gossip: name one, know all. It wraps hashicorp/memberlist (SWIM
// with the extensions of "Lifeguard: Local Health Awareness for More Accurate Failure Detection", Dadgar et al. 2018).
//
//	Start        node.go    binds, joins the others, and tells them of this gateway
//	Node.List    node.go    what is known now; a Node is a fleet.Membership, so fleet.Announce tells clients
//	Node.Update  node.go    this gateway has changed: it drains, say
//	rejoin       rejoin.go  those that were lost are tried again, so that a partition heals
//
// # Trust
//
// Without a key anybody who reaches the port can join, and can read what is told. With one (ParseKey), packets are encrypted and
// authenticated with AES-GCM. What members tell is checked before it is used. It is a hint: see package fleet.
//
// # Limits
//
// What a gateway tells of itself has at most 512 bytes as JSON, which travel with each gossip of it: reach is best written as
// prefixes and folded node sets.
package cluster
