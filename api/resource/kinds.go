package resource

import "github.com/hauberk-mesh/hauberk/api"

// Kinds are all kinds of this package.
func Kinds() []api.Kind {
	return []api.Kind{
		MeshKind(), DataplaneKind(), MeshServiceKind(), MeshIdentityKind(), MeshTrustKind(),
		DataplaneInsightKind(), IdentityRevocationKind(), TokenKind(),
	}
}

// short adds the further words that the command line takes.
func short(k api.Kind, words ...string) api.Kind {
	k.Short = words
	return k
}

func readOnly(k api.Kind) api.Kind {
	k.ReadOnly = true
	return k
}

func unvalidated[S any](api.Meta, *S) api.Problems { return nil }
