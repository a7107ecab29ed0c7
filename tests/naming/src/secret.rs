//! A file that holds a credential: [`Secret`].

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that holds a credential. It does not exist before it is written, and is deleted when this value is dropped.
#[derive(Debug)]
pub struct Secret {
    pub path: PathBuf,
}

impl Secret {
    pub fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { path: std::env::temp_dir().join(format!("hedge-secret-{name}-{}-{number}", std::process::id())) }
    }

    pub fn write(&self, text: &str) {
        std::fs::write(&self.path, text).unwrap();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
