//! Programs that show hedged calls; the main job is the default one
