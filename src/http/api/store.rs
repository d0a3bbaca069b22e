//! Readers of the index, shared by requests.
//!
//! SQLite waits for disks, so a question runs on a thread for blocking work, a bounded number at a time; the others wait for
//! their turn, and not for ever. A reader is opened when one is needed and kept for the next request. If the file at the
//! path is another one by then (somebody deleted it, and an indexer made it again) the kept one would answer from a file that
//! has no name any more: it is dropped.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::problem::{Kind, Problem};
use livesession_index::{FileId, Freshness, Reader, View, file_id};

/// Questions that are worked on at the same time.
const MAX_READERS: usize = 8;

/// How long a question waits for its turn: as long as one may take.
const MAX_WAIT: Duration = Duration::from_secs(livesession_index::MAX_QUERY_SECONDS);

/// The index as the HTTP side sees it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    freshness: Arc<Freshness>,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<(FileId, Reader)>>,
}

impl Store {
    /// Makes a store over the file at `path`, which need not be there yet.
    pub fn new(path: PathBuf, freshness: Arc<Freshness>) -> Store {
        let (turns, idle) = (Arc::new(Semaphore::new(MAX_READERS)), Mutex::new(Vec::new()));
        Store { shared: Arc::new(Shared { path, freshness, turns, idle }) }
    }

    pub fn freshness(&self) -> &Freshness {
        &self.shared.freshness
    }

    /// Asks the index: runs `question` on one state of it.
    ///
    /// # Errors
    ///
    /// What the question returns; [`Kind::IndexUnavailable`] if there is no index, or no turn in time.
    pub async fn ask<T, Q>(&self, question: Q) -> Result<T, Problem>
    where
        T: Send + 'static,
        Q: FnOnce(&View<'_>) -> Result<T, Problem> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let busy = || Problem::new(Kind::IndexUnavailable, "too many questions at once; try again");
        let turn = tokio::time::timeout(MAX_WAIT, Arc::clone(&shared.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| busy())?.map_err(|_| busy())?;
        let answer = tokio::task::spawn_blocking(move || {
            // The question's and not the request's: who asked may be gone before it is answered.
            let _turn = turn;
            shared.answer(question)
        });
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(Problem::new(Kind::IndexUnavailable, "the question could not be worked on")))
    }
}

impl Shared {
    fn answer<T>(&self, question: impl FnOnce(&View<'_>) -> Result<T, Problem>) -> Result<T, Problem> {
        let file = file_id(&self.path);
        let kept = self.take(file);
        let mut reader = match kept {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        let answer = question(&reader.view()?);
        // After a problem of the file the next question opens it anew.
        let is_sound = !matches!(&answer, Err(problem) if problem.kind == Kind::IndexUnavailable);
        if let Some(file) = file.filter(|_| is_sound) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((file, reader));
        }
        answer
    }

    /// Takes a reader of the file that is at the path now, and drops those of others.
    fn take(&self, file: Option<FileId>) -> Option<Reader> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(kept, _)| Some(*kept) == file);
        idle.pop().map(|(_, reader)| reader)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use livesession_index::{Origin, Writer};

    /// Who asked is gone; the questions are still worked on.
    #[test]
    fn questions_that_nobody_waits_for_keep_their_turn() {
        let path = std::env::temp_dir().join(format!("livesession-store-{}.db", std::process::id()));
        let origin = Origin { topic: "topic".to_owned(), source_topic: "source".to_owned() };
        drop(Writer::open(&path, &origin).unwrap());
        let store = Store::new(path.clone(), Arc::default());
        let (begun, (end, wait)) = (Arc::new(AtomicUsize::new(0)), std::sync::mpsc::channel::<()>());
        let wait = Arc::new(Mutex::new(wait));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for _ in 0..3 * MAX_READERS {
                let (begun, wait) = (Arc::clone(&begun), Arc::clone(&wait));
                let question = store.ask(move |_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                    // Until the other end is dropped.
                    let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    Ok(())
                });
                let _ = tokio::time::timeout(Duration::from_millis(20), question).await;
            }
        });
        assert!(begun.load(Ordering::SeqCst) <= MAX_READERS);
        drop(end);
        runtime.block_on(async {
            drop(store.shared.turns.acquire_many(MAX_READERS as u32).await.unwrap());
            store.ask(|_| Ok(())).await.unwrap();
        });
        assert_eq!(begun.load(Ordering::SeqCst), MAX_READERS);
        assert!(store.shared.idle.lock().unwrap().len() <= MAX_READERS);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
