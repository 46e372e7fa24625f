//! Hosts on one database that are killed and started again.

use patchbay_rig::{Api, Host, Program, World};

/// Replicas by number. Each keeps its port, and so its URL, whatever happens to it.
pub struct Fleet {
    programs: Vec<Program>,
    hosts: Vec<Option<Host>>,
    /// A client of the first one.
    pub api: Api,
    /// Starts of the URLs, for a load.
    pub urls: Vec<String>,
}

impl Fleet {
    /// Starts so many hosts on the world's database.
    pub async fn start(world: &World, size: usize) -> Self {
        let programs = (0..size).map(|n| if n == 0 { world.program.clone() } else { world.replica() });
        Self::of(world, programs.collect()).await
    }

    /// Starts these programs, one after the other.
    pub async fn of(world: &World, programs: Vec<Program>) -> Self {
        let key = world.key().await;
        let mut hosts = Vec::new();
        for program in &programs {
            hosts.push(Some(program.serve().await));
        }
        let urls: Vec<_> = programs
            .iter()
            .map(|p| format!("http://127.0.0.1:{}", p.port))
            .collect();
        Self {
            api: Api::new(&urls[0], Some(&key)),
            programs,
            hosts,
            urls,
        }
    }

    /// Starts one more.
    pub async fn add(&mut self, program: Program) {
        self.hosts.push(Some(program.serve().await));
        self.urls.push(format!("http://127.0.0.1:{}", program.port));
        self.programs.push(program);
    }

    /// A client of a host, with the fleet's key.
    pub fn api_of(&self, number: usize) -> Api {
        self.api.at(&self.urls[number])
    }

    pub fn size(&self) -> usize {
        self.hosts.len()
    }

    /// A host that runs.
    #[track_caller]
    pub fn host(&self, number: usize) -> &Host {
        self.hosts[number].as_ref().expect("this host runs")
    }

    /// kill -9.
    pub async fn kill(&mut self, number: usize) {
        self.hosts[number].take().expect("this host runs").kill().await;
    }

    /// Starts a host that was killed.
    pub async fn start_again(&mut self, number: usize) {
        assert!(self.hosts[number].is_none(), "this host runs");
        self.hosts[number] = Some(self.programs[number].serve().await);
    }

    /// Hosts that have ended by themselves.
    pub fn crashed(&mut self) -> usize {
        self.hosts.iter_mut().flatten().filter_map(Host::has_ended).count()
    }

    /// Starts hosts that ended by themselves again, as a supervisor would. How many.
    pub async fn revive(&mut self) -> usize {
        let mut revived = 0;
        for number in 0..self.size() {
            if self.hosts[number]
                .as_mut()
                .is_some_and(|host| host.has_ended().is_some())
            {
                self.hosts[number] = None;
                self.start_again(number).await;
                revived += 1;
            }
        }
        revived
    }
}
