// Package resource has the kinds that are not policies, one file each: Mesh, Dataplane, MeshService, MeshIdentity, MeshTrust
// and the read-only DataplaneInsight. Field comments are the reference; defaults are filled by the control plane when it
// reads a spec (the accessors), never written into what the user stored.
package resource
