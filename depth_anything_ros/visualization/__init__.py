"""Pictures of depth: colors, captions, panels and drawn point clouds."""
