//! A bounded number of threads for calls that may block.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Jobs that touch the disk at once. With syncs, sixteen threads reach most of what a disk gives.
const RUNNING: usize = 16;
/// Jobs that wait for a thread before more are turned away.
const WAITING: usize = 1024;

/// Runs jobs on blocking threads under a deadline.
///
/// A call on a hung filesystem cannot be cancelled: it keeps its place until it returns, so
/// a hung store costs a bounded number of threads while everybody else goes upstream.
#[derive(Debug)]
pub struct Workers {
    running: Arc<Semaphore>,
    queue: Semaphore,
}

/// Why a job has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Too many jobs wait already.
    Overload,
    /// The deadline passed; the job may still be running.
    Deadline,
    /// The job died.
    Died,
}

impl Default for Workers {
    fn default() -> Self {
        Self::new(RUNNING)
    }
}

impl Workers {
    /// At most `threads` jobs at once.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self {
            running: Arc::new(Semaphore::new(threads)),
            queue: Semaphore::new(WAITING),
        }
    }

    /// Runs a job, or says why there is no result by the deadline.
    ///
    /// # Errors
    /// [`Unfinished`]
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        let _place = self.queue.try_acquire().map_err(|_| Unfinished::Overload)?;
        let permit = tokio::time::timeout_at(deadline, self.running.clone().acquire_owned())
            .await
            .map_err(|_| Unfinished::Deadline)?
            .map_err(|_| Unfinished::Overload)?;
        let job = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            job()
        });
        match tokio::time::timeout_at(deadline, job).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(Unfinished::Died),
            Err(_) => Err(Unfinished::Deadline),
        }
    }

    /// Runs a job that nobody needs to have: it is turned away where all threads are busy.
    ///
    /// # Errors
    /// [`Unfinished`]
    pub async fn run_if_idle<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unfinished> {
        if self.running.available_permits() == 0 {
            return Err(Unfinished::Overload);
        }
        self.run(Instant::now() + limit, job).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn a_hung_disk_costs_a_bounded_number_of_threads() {
        let workers = Workers::default();
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let soon = || Instant::now() + Duration::from_millis(50);
        for _ in 0..RUNNING {
            let hung = hung.clone();
            let job = move || hung.lock().map(|hung| hung.recv().is_err()).ok();
            assert_eq!(workers.run(soon(), job).await, Err(Unfinished::Deadline));
        }
        assert_eq!(workers.run(soon(), || 1).await, Err(Unfinished::Deadline));
        let idle = workers.run_if_idle(Duration::from_millis(50), || 1).await;
        assert_eq!(idle, Err(Unfinished::Overload));
        drop(release);
        let later = Instant::now() + Duration::from_secs(30);
        assert_eq!(workers.run(later, || 1).await, Ok(1));
    }

    #[tokio::test]
    async fn a_job_that_dies_is_no_result() {
        let workers = Workers::default();
        let later = Instant::now() + Duration::from_secs(30);
        let died = workers.run(later, || panic!("on purpose")).await;
        assert_eq!(died, Err::<(), _>(Unfinished::Died));
        assert_eq!(workers.run(later, || 1).await, Ok(1));
    }
}
