"""Words for invented tools: verbs, nouns, attributes, and the kinds of parameters with wordings.

Knows words only: nothing here knows how a tool is offered or called.
"""

from __future__ import annotations

VERBS: dict[str, tuple[str, ...]] = {
    "book": ("reserve",),
    "send": ("dispatch",),
    "create": ("make", "set up"),
    "delete": ("remove", "get rid of"),
    "update": ("change",),
    "cancel": ("call off",),
    "schedule": ("plan",),
    "order": ("buy",),
    "track": ("follow",),
    "translate": (),
    "search": ("look for",),
    "check": ("verify",),
    "add": ("append",),
    "print": ("put on paper",),
    "export": (),
    "import": (),
    "rent": ("hire",),
    "repair": ("fix",),
    "clean": ("wash",),
    "start": ("launch",),
    "stop": ("halt",),
    "open": ("unseal",),
    "close": ("shut",),
    "lock": ("secure",),
    "unlock": (),
    "paint": (),
    "measure": ("gauge",),
    "compare": ("contrast",),
    "estimate": ("guess",),
    "register": ("sign up",),
    "assign": ("allocate",),
    "archive": ("file away",),
    "upload": ("put online",),
    "download": (),
    "share": ("pass on",),
    "rate": ("judge",),
    "review": (),
    "report": ("announce",),
    "plant": (),
    "charge": (),
    "pay": ("settle",),
    "refund": ("pay back",),
    "transfer": ("move",),
    "rename": ("give a new name to",),
    "resize": ("scale",),
    "play": (),
    "pause": ("hold",),
    "record": ("tape",),
    "draw": ("sketch",),
    "analyze": ("examine",),
    "validate": ("confirm",),
    "generate": ("produce",),
    "invite": (),
    "notify": ("inform",),
    "approve": ("accept",),
    "reject": ("turn down",),
    "ship": ("mail",),
    "pack": ("wrap up",),
    "weigh": (),
    "test": ("try out",),
    "install": ("put in",),
    "subscribe": (),
    "post": ("publish",),
    "log": ("note down",),
    "format": (),
    "sort": ("put in order",),
    "filter": (),
    "deliver": ("bring",),
    "inspect": ("look over",),
    "renew": ("extend",),
    "design": ("draft",),
    "mix": ("blend",),
    "cut": ("slice",),
    "scan": ("digitize",),
    "sell": (),
    "store": ("keep",),
    "restart": ("reboot",),
    "monitor": ("watch",),
    "adjust": ("tune",),
    "forward": (),
    "block": ("bar",),
    "collect": ("pick up",),
    "submit": ("hand in",),
    "sign": (),
    "reset": (),
    "calibrate": (),
    "mount": ("fasten",),
    "load": ("fill",),
}
"""Verbs in tool names, with other words that a question may use for them."""

NOUNS = tuple(
    """table;flight;hotel room;parcel;invoice;order;ticket;meeting;appointment;reminder;alarm;event;
    email;report;playlist;song;photo;recipe;garden;car;bicycle;taxi;train;package;account;password;
    backup;server;database;sensor;lamp;door;window;heater;printer;robot;drone;camera;survey;
    contract;loan;payment;budget;salary;tax form;stock;weather;forecast;route;map;timetable;menu;
    book;article;chapter;course;exam;grade;lesson;workout;meal;medicine;prescription;patient file;
    room;boat;cabin;house;apartment;desk;chair;machine;engine;pump;valve;battery;cable;screen;phone;
    laptop;website;domain;blog post;comment;message;newsletter;banner;poster;logo;video;podcast;
    movie;concert;match;tournament;team;player;score;coupon;voucher;gift card;subscription;
    membership;donation;shipment;container;pallet;warehouse;shelf;product;sample;material;tile;wall;
    roof;tree;flower;seed;field;harvest;animal;horse;dog walk;aquarium;oven;fridge;washing machine;
    vacuum;thermostat;curtain;pool;sauna;lift;gate;parking spot;bus;ferry;plane;satellite;telescope;
    microscope;experiment;model;dataset;chart;spreadsheet;slide;document;folder;archive;certificate;
    licence;passport;visa;permit;badge;uniform;shirt;shoe;ring;watch;painting;statue;guitar;piano;
    violin;drum;letter;postcard;stamp;coin;bond;share;fund;wallet;transaction;claim;policy;case;
    complaint;question;poll;vote;petition;project;task;sprint;bug;release;branch;test run;script;
    cluster;queue;job;log file;dashboard;metric;alert;incident;shift;holiday;trip;tour;guide;museum
    visit;exhibition;party;wedding;cake;coffee;tea;pizza;sandwich;salad;soup;wine;cheese;bread;fruit
    basket;bouquet;blanket;pillow;tent;backpack;ski pass;surfboard;kayak;scooter;van;truck;crane;
    tractor;windmill;solar panel;water tank;filter;fuse;switch;router;modem;antenna;speaker;
    microphone;headset;keyboard;monitor;projector""".replace("\n", " ").split(";")
)
NOUNS = tuple(" ".join(noun.split()) for noun in NOUNS)

ATTRIBUTES: dict[str, str] = {
    attribute: value
    for value, attributes in {
        "{amount}": "price;balance;salary;cost;fee;rent;value;budget;turnover;profit;deposit",
        "{percent}": "tax rate;discount;stock level;battery level;humidity;signal strength;"
        "growth rate;interest rate;fuel level;success rate;share",
        "{date}": "deadline;due date;delivery date;start date;end date;birthday;expiry date;"
        "last update",
        "{time}": "arrival time;departure time;opening time;closing time;check-in time",
        "{time} to {time:b}": "opening hours;working hours;time slot",
        "{person}": "owner;author;manager;supplier;driver;contact person;inventor;winner",
        "{city}": "location;address;birthplace;destination;home town",
        "{code}": "serial number;room number;gate number;seat number;reference number;version",
        "{number} kg": "weight;capacity;maximum load",
        "{number} m": "height;length;width;depth;thickness",
        "{number} km": "distance;mileage;range",
        "{number} minutes": "duration;waiting time;cooking time",
        "{number} [degrees|degrees Celsius]": "temperature;melting point",
        "{number} [watts|volts]": "power;voltage",
        "{number}": "population;size;age;score;error count;visitor count;page count;word count;"
        "download count;calorie count;rank;rating;speed;pressure;density;volume;noise level",
        "[open|closed|pending|ready|delayed|in progress|shipped|good|low|high]": "status;condition;"
        "priority;brightness",
        "[red|green|blue|black|white|grey|brown|yellow]": "colour",
        "[English|French|German|Spanish|Polish|Hindi]": "language",
        "{project}": "title;nickname;category;brand",
    }.items()
    for attribute in attributes.split(";")
}
"""What can be looked up of a noun, and what such a value looks like."""

SUBJECTS: dict[str, str] = {
    subject: value
    for value, subjects in {
        "[sunny|rainy|cloudy|windy|foggy|stormy], [-5|0|3|8|12|17|21|29] degrees": "weather;"
        "forecast;weather forecast;weather report;current weather",
        "{number} degrees": "temperature;water temperature;outside temperature",
        "{percent}": "chance of rain;air quality;inflation rate;unemployment rate;water level",
        "{amount}": "stock price;exchange rate;share price;ticket price;fuel price;gold price",
        "{time}": "sunset;sunrise;next train;next bus;high tide;prayer time",
        "{number} minutes": "travel time;queue length;traffic delay",
        "{number} km": "distance;length of the route",
        "{name}": "name of the mayor;name of the driver",
        "{code}": "area code;phone number;postcode;flight number",
        "[clear|slow|heavy|blocked]": "traffic;road condition;moon phase;pollen count",
        "{number}": "population;number of visitors;steps of today;heart rate",
    }.items()
    for subject in subjects.split(";")
}
"""What can be looked up by itself, such as the weather, and what it looks like."""

LABELS = tuple(
    """width;height;depth;weight;level;grade;zone;sector;channel;section;row;column;floor;phase;
    stage;mode;model;style;theme;brand;material;flavour;topic;category;department;region;branch;
    account;project;version;target;source;limit;threshold;ratio;rate;speed;pressure;volume;offset;
    margin;angle;radius;frequency;interval;delay;budget;score;rank;priority code;batch;slot;lane;
    platform;terminal;cabinet;drawer;shelf;vendor;partner;sponsor;supervisor;driver;teacher;
    instructor;reviewer;assistant;device;sensor;key;tag;label;prefix;suffix;alias;nickname;reason;
    purpose;occasion;genre;season;chapter;paragraph;scale;unit;factor;step;seed;port;host;domain;
    cluster;folder;pattern;keyword;filter;query;field;texture;pace;tempo;pitch;dose;portion;
    thickness;density;capacity;mileage""".replace("\n", " ").split(";")
)
LABELS = tuple(" ".join(label.split()) for label in LABELS)
LABEL_ADJECTIVES = tuple(
    """minimum;maximum;first;second;main;backup;total;default;start;end;target;base;
    extra;current;new;old;inner;outer;upper;lower;left;right;front;rear;daily;
    weekly;local""".replace("\n", " ").split(";")
)
LABEL_ADJECTIVES = tuple(word.strip() for word in LABEL_ADJECTIVES)

OPTIONS: dict[str, tuple[str, ...]] = {
    "size": ("small", "medium", "large"),
    "priority": ("low", "normal", "high", "urgent"),
    "colour": ("red", "green", "blue", "yellow", "black", "white"),
    "unit": ("celsius", "fahrenheit", "kelvin"),
    "format": ("pdf", "csv", "json", "html"),
    "travel class": ("economy", "business", "first"),
    "mode": ("fast", "quiet", "eco", "turbo"),
    "currency": ("EUR", "USD", "GBP", "JPY"),
    "language": ("English", "French", "German", "Spanish", "Italian", "Polish"),
    "order": ("ascending", "descending"),
    "direction": ("north", "south", "east", "west"),
    "season": ("spring", "summer", "autumn", "winter"),
    "level": ("beginner", "intermediate", "advanced"),
    "material": ("wood", "steel", "glass", "cotton", "leather"),
    "payment method": ("card", "cash", "invoice", "transfer"),
    "frequency": ("daily", "weekly", "monthly", "yearly"),
    "quality": ("draft", "standard", "premium"),
    "shape": ("round", "square", "oval"),
    "position": ("left", "right", "center"),
    "shift": ("morning", "evening", "night"),
    "genre": ("jazz", "rock", "classical", "folk"),
    "diet": ("vegan", "vegetarian", "gluten-free"),
    "status": ("active", "paused", "closed"),
    "theme": ("light", "dark", "sepia"),
    "difficulty": ("easy", "moderate", "hard"),
    "transport": ("car", "bike", "train", "bus"),
    "finish": ("matte", "glossy", "satin"),
    "category": ("sport", "travel", "food", "science"),
}
"""Parameters with a fixed set of values."""

SWITCHES = tuple(
    """express delivery;gift wrap;insurance;breakfast;notifications;subtitles;sound;a receipt;
    encryption;compression;captions;auto renewal;priority boarding;sea view;air conditioning;sugar;
    ice;extra cheese;a signature;page numbers;comments;images;a cover letter;headers;colours;
    animation;vibration;tracking;a deposit;tax;shipping;assembly;installation;a child seat;a helmet;
    cleaning;parking;luggage;a window seat;live updates;history;details;a preview;backups;alerts;
    a password;watermarks;footnotes;a discount;training""".replace("\n", " ").split(";")
)
SWITCHES = tuple(" ".join(switch.split()) for switch in SWITCHES)

ITEMS = tuple(
    """apples;bread;milk;eggs;cheese;rice;pasta;tomatoes;onions;coffee;tea;sugar;flour;
    butter;salt;pepper;lemons;bananas;carrots;potatoes;nails;screws;paint;brushes;
    tape;glue;paper;pens;pencils;folders;lamps;cables;batteries;gloves;boots;helmets;
    ropes;tents;maps;cups;plates;forks;spoons;towels;soap;candles;flowers;seeds;
    soil;red;blue;green;music;sport;travel;food;science;history;art;nature;health;
    finance;news;games;books;films;cooking;gardening;running;swimming""".replace("\n", " ").split(
        ";"
    )
)
ITEMS = tuple(word.strip() for word in ITEMS)

PHRASES = tuple(
    """running late;see you soon;please call me back;happy birthday;the door is open;lunch is ready;
    good luck tomorrow;do not forget the keys;thanks for your help;the shipment has arrived;
    buy milk;water the plants;call the dentist;pay the rent;feed the cat;pick up the kids;
    return the books;check the oven;clean the kitchen;meeting moved to room 4;welcome to the team;
    all tests passed;new prices from Monday;we are closed today;the train is delayed;
    congratulations on your new job;see attached file;great work everyone;back in ten minutes;
    the budget is approved;bring an umbrella;first draft;summer party;monthly review;
    project kickoff;family dinner;old town walk;winter sale;night shift notes;road trip songs;
    garden ideas;weekly planning;quiet evening;spring cleaning;team lunch;final version;
    open questions;things to fix;holiday photos;morning routine;the parcel is at the desk;
    no more coffee left;
    the code is in the drawer;keep the receipt;take the second exit;ask for the manager""".replace(
        "\n", " "
    ).split(";")
)
PHRASES = tuple(" ".join(phrase.split()) for phrase in PHRASES)

SENTENCES = (
    "the <n> is in {city}",
    "my <n> and your <m>",
    "{name} has a new <n>",
    "please <v> the <n> before {time}",
    "we <v> a <n> every {weekday}",
    "{name} and {name:b} like the <n>",
    "the <n> costs {amount}",
    "I want to <v> my <n>",
    "where is the <n> of {name}",
    "a <n> without a <m>",
    "{project} needs one more <n>",
    "no <n> today",
    "they <v> the <n> in {city}",
    "the old <n> and the new <m>",
    "see {file} for the <n>",
    "call {name} about the <n>",
    "every <n> is a <m>",
    "how to <v> a <n>",
    "{number} reasons to <v> your <n>",
    "the <n> was late again",
)
"""Short texts around a verb and two nouns."""

KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "city": (
        ("city", "location", "place", "town", "destination_city"),
        ("Name of the city", "The city", "City to use", "Where, as a city"),
        (
            "in {v}",
            "in {v}",
            "in the city of {v}",
            "over in {v}",
            "located in {v}",
            "near {v}",
            "around {v}",
            "close to {v}",
            "the place is {v}",
            "{v} area",
        ),
    ),
    "date": (
        ("date", "day", "on_date", "start_date", "event_date"),
        ("The date", "Day of the {noun}", "Date of the {noun}", "Calendar date"),
        (
            "on {v}",
            "on {v}",
            "for {v}",
            "dated {v}",
            "on the date {v}",
            "as of {v}",
            "{v}",
            "by {v}",
            "on the day {v}",
            "set for {v}",
            "the date is {v}",
        ),
    ),
    "time": (
        ("time", "start_time", "at_time", "hour", "clock_time"),
        ("The time", "Time of day", "Start time", "Time of the {noun}"),
        (
            "at {v}",
            "at {v}",
            "starting at {v}",
            "at exactly {v}",
            "beginning at {v}",
            "for {v}",
            "by {v}",
            "from {v} on",
            "around {v}",
            "{v} sharp",
            "the time is {v}",
        ),
    ),
    "person": (
        ("customer", "guest", "client", "person", "name", "user", "employee", "owner", "member"),
        ("Name of the {label}", "The {label}", "Full name of the {label}", "Who it is for"),
        (
            "for {v}",
            "for {v}",
            "on behalf of {v}",
            "in the name of {v}",
            "for the {label} {v}",
            "for my friend {v}",
            "for our {label} {v}",
            "as requested by {v}",
            "under the name {v}",
            "the {label} is {v}",
            "for the account of {v}",
        ),
    ),
    "recipient": (
        ("recipient", "to", "receiver", "addressee", "contact"),
        ("Who receives the {noun}", "Name of the {label}", "The {label}"),
        (
            "to {v}",
            "to {v}",
            "addressed to {v}",
            "going to {v}",
            "to my colleague {v}",
            "to our {label} {v}",
            "meant for {v}",
            "for the attention of {v}",
            "{v} should get it",
            "the {label} is {v}",
        ),
    ),
    "quantity": (
        ("quantity", "count", "amount", "pieces", "number_of_items"),
        ("How many", "Number of pieces", "The quantity", "How many are wanted"),
        (
            "{v} pieces",
            "a quantity of {v}",
            "{v} of them",
            "{v} in total",
            "{v} units",
            "some {v} of them",
            "exactly {v} of these",
            "altogether {v}",
            "make it {v}",
            "the {label} is {v}",
            "{v} copies",
        ),
    ),
    "minutes": (
        ("duration", "minutes", "duration_minutes", "length_minutes"),
        ("Duration in minutes", "Length in minutes", "How many minutes"),
        (
            "for {v} minutes",
            "lasting {v} minutes",
            "that takes {v} minutes",
            "over {v} minutes",
            "of {v} minutes",
            "{v} minutes long",
            "taking {v} minutes",
            "{v} min",
            "and give it {v} minutes",
        ),
    ),
    "people": (
        ("people", "guests", "party_size", "seats", "number_of_people"),
        ("Number of people", "How many people", "Size of the group"),
        (
            "for {v} people",
            "with {v} people",
            "for a group of {v}",
            "for {v} persons",
            "{v} people",
            "there are {v} of us",
            "{v} of us will come",
            "for {v} guests",
        ),
    ),
    "price": (
        ("max_price", "price", "budget", "price_limit", "amount"),
        ("Highest price in euros", "Price in euros", "Budget in euros", "Price limit"),
        (
            "for {v} euros",
            "for at most {v} euros",
            "under {v} euros",
            "costing {v} euros",
            "below {v} euros",
            "up to {v} euros",
            "no more than {v} euros",
            "at a price of {v} euros",
            "paying {v} euros",
            "with {v} euros to spend",
        ),
    ),
    "weight": (
        ("weight", "weight_kg", "mass", "load_kg"),
        ("Weight in kilograms", "Weight in kg", "How heavy it is in kg"),
        (
            "weighing {v} kg",
            "of {v} kg",
            "with {v} kg",
            "at {v} kilograms",
            "of about {v} kg",
            "that weighs {v} kg",
            "{v} kg heavy",
            "with a weight of {v} kg",
            "{v} kilos",
        ),
    ),
    "radius": (
        ("radius", "distance_km", "radius_km", "max_distance"),
        ("Radius in kilometres", "Distance in km", "How far away in km"),
        (
            "within {v} km",
            "within {v} kilometres",
            "no further than {v} km",
            "in a {v} km radius",
            "up to {v} km away",
            "at most {v} km away",
            "not more than {v} km off",
            "closer than {v} km",
            "{v} km around",
        ),
    ),
    "email": (
        ("email", "email_address", "to_email", "contact_email"),
        ("Email address", "Where to write", "Email of the recipient"),
        (
            "to {v}",
            "with the email {v}",
            "using the address {v}",
            "and email {v}",
            "at {v}",
            "via {v}",
            "mail {v}",
            "reachable at {v}",
            "the email is {v}",
            "write to {v}",
            "answer to {v}",
        ),
    ),
    "message": (
        ("message", "text", "body", "note", "content"),
        ("The {label}", "Text of the {label}", "What it says", "The {label} to use"),
        (
            "saying '{v}'",
            "that says '{v}'",
            "with the {label} '{v}'",
            "with the words '{v}'",
            "with '{v}' as the {label}",
            "reading '{v}'",
            "the {label} is '{v}'",
            "with this {label}: '{v}'",
            "that reads '{v}'",
            "telling them '{v}'",
        ),
    ),
    "title": (
        ("title", "subject", "headline", "heading", "caption"),
        ("The {label}", "{Label} of the {noun}", "What to call it"),
        (
            "called '{v}'",
            "titled '{v}'",
            "with the {label} '{v}'",
            "under the {label} '{v}'",
            "named '{v}'",
            "with '{v}' as {label}",
            "the {label} is '{v}'",
            "entitled '{v}'",
            "by the name '{v}'",
        ),
    ),
    "code": (
        ("order_id", "reference", "code", "tracking_number", "booking_code", "id", "case_number"),
        ("The {label}", "{Label} of the {noun}", "Which {label}"),
        (
            "{label} {v}",
            "with the {label} {v}",
            "with {label} {v}",
            "under {label} {v}",
            "the {label} is {v}",
            "for {label} {v}",
            "via {label} {v}",
            "that has the {label} {v}",
            "marked {v}",
            "number {v}",
        ),
    ),
    "file": (
        ("file", "filename", "path", "file_name", "source_file"),
        ("The file", "Name of the file", "File to use"),
        (
            "from {v}",
            "using the file {v}",
            "with {v}",
            "from the file {v}",
            "based on {v}",
            "out of {v}",
            "reading {v}",
            "stored in {v}",
            "the {label} is {v}",
            "by means of {v}",
            "in {v}",
        ),
    ),
    "url": (
        ("url", "link", "web_address", "page"),
        ("The web address", "Link to the {noun}", "Web page"),
        (
            "at {v}",
            "from {v}",
            "using the link {v}",
            "with the link {v}",
            "see {v}",
            "found at {v}",
            "the {label} is {v}",
            "linked at {v}",
            "as on {v}",
            "under {v}",
        ),
    ),
    "items": (
        ("items", "tags", "products", "topics", "keywords", "parts"),
        ("The {label}", "List of {label}", "Which {label}"),
        (
            "with the {label} {v}",
            "with {label} {v}",
            "containing {v}",
            "including {v}",
            "about {v}",
            "namely {v}",
            "such as {v}",
            "the {label} are {v}",
            "made of {v}",
        ),
    ),
    "names": (
        ("attendees", "participants", "invitees", "team_members", "guest_names"),
        ("The {label}", "Names of the {label}", "Who takes part"),
        (
            "with {v}",
            "together with {v}",
            "with the {label} {v}",
            "and invite {v}",
            "inviting {v}",
            "for {v}",
            "the {label} are {v}",
            "{v} take part",
            "along with {v}",
            "asking {v}",
        ),
    ),
    "numbers": (
        ("values", "numbers", "scores", "ids", "sizes", "readings"),
        ("The {label}", "List of {label}", "Which {label}"),
        (
            "with the {label} {v}",
            "for the {label} {v}",
            "using the {label} {v}",
            "{label} {v}",
            "given the {label} {v}",
            "out of the {label} {v}",
            "the {label} are {v}",
            "with {v} as {label}",
            "via {label} {v}",
        ),
    ),
}
"""Kinds of parameters: names, descriptions, and phrases that state a value in a question."""

GENERIC_PHRASES = (
    "with {label} {v}",
    "with a {label} of {v}",
    "with the {label} {v}",
    "with the {label} set to {v}",
    "using {v} as the {label}",
    "where the {label} is {v}",
    "and {label} {v}",
    "and a {label} of {v}",
    "({label} {v})",
    "({label}: {v})",
    "at {label} {v}",
    "for {label} {v}",
    "whose {label} is {v}",
    "taking {v} for the {label}",
    "{label} {v}",
    "{label} = {v}",
    "the {label} being {v}",
    "with {v} as {label}",
    "its {label} should be {v}",
    "and use {v} for the {label}",
    "on {label} {v}",
    "by {label} {v}",
    "with {v} for the {label}",
    "with {label}: {v}",
    "where {label} is {v}",
    "where {label} equals {v}",
    "when the {label} is {v}",
    "if the {label} is {v}",
    "having {label} {v}",
    "having the {label} of {v}",
    "that has the {label} {v}",
    "which has {label} {v}",
    "making the {label} {v}",
    "setting the {label} to {v}",
    "and set the {label} to {v}",
    "and make the {label} {v}",
    "keep the {label} at {v}",
    "use {v} as {label}",
    "use the {label} {v}",
    "choose {v} for the {label}",
    "take {v} as the {label}",
    "taking {v} as {label}",
    "the {label} is {v}",
    "the {label} should be {v}",
    "the {label} must be {v}",
    "its {label} is {v}",
    "and its {label} is {v}",
    "{label} is {v}",
    "{label} of {v}",
    "{label}: {v}",
    "{label} - {v}",
    "[{label}: {v}]",
    "in {label} {v}",
    "of {label} {v}",
    "from {label} {v}",
    "under {label} {v}",
    "near {label} {v}",
    "through {label} {v}",
    "per {label} {v}",
    "over {label} {v}",
    "to {label} {v}",
    "{v} as {label}",
    "{v} as the {label}",
    "{v} for {label}",
    "{v} is the {label}",
    "given {label} {v}",
    "given that the {label} is {v}",
    "based on {label} {v}",
    "according to {label} {v}",
    "matching {label} {v}",
    "limited to {label} {v}",
    "assuming the {label} {v}",
    "going by {label} {v}",
    "and for {label} use {v}",
    "and as {label} take {v}",
    "I chose {v} for the {label}",
    "I want {v} as the {label}",
    "the right {label} is {v}",
)
"""How a question states the value of a parameter by the parameter's own words."""

OPTION_PHRASES = (
    "with {label} {v}",
    "with {v} {label}",
    "and {label} {v}",
    "with the {label} set to {v}",
    "({v} {label})",
    "in {v} {label}",
    "{label} {v}",
    "as {label} {v}",
    "with {v} as the {label}",
    "choosing {v} for the {label}",
    "{v} {label} please",
    "in the {v} {label}",
    "with {v} for {label}",
    "with the {v} {label}",
    "and {v} {label}",
    "and the {v} {label}",
    "using {v} {label}",
    "using the {label} {v}",
    "using {v} as the {label}",
    "for {v} {label}",
    "of {v} {label}",
    "at {v} {label}",
    "on {v} {label}",
    "by {v} {label}",
    "under {v} {label}",
    "in {label} {v}",
    "of {label} {v}",
    "with {label}: {v}",
    "with {label} = {v}",
    "({label}: {v})",
    "({label} {v})",
    "({v})",
    "{v}",
    "in {v}",
    "{label}: {v}",
    "{label} is {v}",
    "the {label} is {v}",
    "the {label} should be {v}",
    "its {label} is {v}",
    "{v} for the {label}",
    "{v} as the {label}",
    "{v} {label}",
    "{v} {label} if possible",
    "where the {label} is {v}",
    "whose {label} is {v}",
    "and a {label} of {v}",
    "and set the {label} to {v}",
    "and make it {v}",
    "and choose {v} for the {label}",
    "taking {v} as {label}",
    "I want the {v} {label}",
    "I prefer {v} {label}",
    "preferably with {v} {label}",
    "ideally in {v} {label}",
    "the {v} {label}",
    "any {v} {label}",
)
SWITCH_PHRASES: tuple[tuple[str, str], ...] = (
    ("with {v}", "without {v}"),
    ("with {v}", "with no {bare}"),
    ("and include {v}", "and leave out {v}"),
    ("including {v}", "excluding {v}"),
    ("{bare} on", "{bare} off"),
    ("{bare}: yes", "{bare}: no"),
    ("with {bare} enabled", "with {bare} disabled"),
    ("and I want {v}", "and I do not want {v}"),
    ("plus {v}", "minus {v}"),
    ("and turn {bare} on", "and turn {bare} off"),
    ("with {v}", "without any {bare}"),
    ("with the {bare} on", "with the {bare} off"),
    ("with {bare} on", "with {bare} off"),
    ("with {bare} set to yes", "with {bare} set to no"),
    ("with {bare} allowed", "with {bare} forbidden"),
    ("with {bare} = true", "with {bare} = false"),
    ("{bare} = yes", "{bare} = no"),
    ("{bare} = true", "{bare} = false"),
    ("{bare}: true", "{bare}: false"),
    ("{bare}: on", "{bare}: off"),
    ("{bare} - yes", "{bare} - no"),
    ("{bare} yes", "{bare} no"),
    ("{bare} true", "{bare} false"),
    ("({bare}: on)", "({bare}: off)"),
    ("({bare} yes)", "({bare} no)"),
    ("(with {v})", "(without {v})"),
    ("(plus {v})", "(no {bare})"),
    ("{bare}? yes", "{bare}? no"),
    ("yes to {bare}", "no to {bare}"),
    ("yes, {v}", "no {bare}"),
    ("{bare}, yes please", "{bare}, no thanks"),
    ("{v}, please", "no {bare}, please"),
    ("and {bare} please", "and no {bare} please"),
    ("and {v}", "but no {bare}"),
    ("and add {v}", "and skip {v}"),
    ("and add {v} too", "and drop {v}"),
    ("and also {v}", "and never {v}"),
    ("and use {v}", "and do not use {v}"),
    ("and keep {v}", "and remove {v}"),
    ("and switch {bare} on", "and switch {bare} off"),
    ("and enable {bare}", "and disable {bare}"),
    ("and activate {bare}", "and deactivate {bare}"),
    ("and set {bare} to true", "and set {bare} to false"),
    ("and set {bare} to yes", "and set {bare} to no"),
    ("and put {v} in", "and take {v} out"),
    ("adding {v}", "omitting {v}"),
    ("keeping {v}", "skipping {v}"),
    ("enabling {bare}", "disabling {bare}"),
    ("having {v}", "not having {v}"),
    ("{bare} turned on", "{bare} turned off"),
    ("{bare} needed", "{bare} not needed"),
    ("{bare} wanted", "{bare} not wanted"),
    ("{bare} enabled", "{bare} disabled"),
    ("{bare} included", "{bare} not included"),
    ("{bare} should be on", "{bare} should be off"),
    ("{bare} welcome", "{bare} unwanted"),
    ("I need {v}", "I do not need {v}"),
    ("I would like {v}", "I would not like {v}"),
    ("we want {v}", "we do not want {v}"),
    ("it needs {v}", "it needs no {bare}"),
    ("make sure to have {v}", "make sure to have no {bare}"),
    ("do include {v}", "do not include {v}"),
    ("as for {bare}: on", "as for {bare}: off"),
    ("having {bare} on", "having {bare} off"),
)

FILLERS = tuple(
    """a;about;after;all;also;an;and;any;around;as;at;be;because;before;being;below;
    beside;between;both;by;can;choose;chosen;could;do;down;each;even;exactly;first;
    fixed;for;from;get;given;go;good;has;have;having;here;I;if;in;into;is;it;its;
    just;keep;last;let;like;made;make;may;me;more;must;my;need;next;nicely;now;of;
    often;on;one;only;or;our;out;over;own;pick;please;put;rather;really;right;set;
    shall;she;should;so;some;stay;still;such;take;taken;taking;than;that;the;their;
    them;then;there;these;they;this;those;through;to;today;together;too;under;until;
    up;us;use;used;using;very;want;wanted;was;we;well;were;what;when;where;which;
    while;who;will;with;within;would;yet;you;your""".replace("\n", " ").split(";")
)
FILLERS = tuple(word.strip() for word in FILLERS)
"""Words that may stand anywhere in a loose phrase."""
BEFORE = tuple(
    """with;using;for;at;by;on;in;of;under;from;to;over;per;near;matching;having;taking;given;and;
    where;whose;its;keep;set;use;choose;pick;make;if;when;and set;and use;and make;and take;and let;
    I want;I need;I chose;let;put;change;through;past;via;about;around;against;into;beside;like;
    like this;this way;only;namely;having chosen;while;since;because;as;as for;so;then;also;plus;
    making;setting;choosing;keeping;giving;wanting;it has;it gets;we use;we take;please use;
    please set;please take;I think;note;here""".replace("\n", " ").split(";")
)
BEFORE = tuple(word.strip() for word in BEFORE)
"""What may stand before a label and its value, or its value and the label."""
LABELLED = ("", "", "", "the", "the", "a", "its", "this", "my", "our", "that", "as the", "as its")
"""What may stand right before a label."""
LABEL_IS = (
    *("", "", "", "", "is", "is", "of", "=", ":", "-", "should be", "set to", "being", "equals"),
    *(
        "at",
        "must be",
        "to be",
        "as",
        "will be",
        "was",
        "to",
        "equal to",
        "like",
        "can be",
        "may be",
    ),
    *(
        "has to be",
        "stays",
        "stays at",
        "fixed at",
        "remains",
        "means",
        "becomes",
        "named",
        "given as",
    ),
)
"""What may stand between a label and its value."""
IS_LABEL = (
    *(
        "as",
        "as",
        "as the",
        "as a",
        "as its",
        "for",
        "for the",
        "for its",
        "is the",
        "in the",
        "to be",
    ),
    *("like the", "on the", "being the", "would be the", "makes the", "", "will be the", "was the"),
    *("to be the", "in place of the", "at the", "should be the", "must be the", "counts as", "of"),
)
"""What may stand between a value and its label."""
WANTED = (
    *("with", "including", "plus", "add", "include", "I want", "use", "keep", "enable", "allow"),
    *("turn on", "yes to", "there should be", "do have", "switch on", "we need", "give it"),
    *("adding", "having", "keeping", "using", "enabling", "needing", "do add", "I like", "put in"),
    *("we like", "bring", "it has", "get", "want", "turning on", "allowing", "yes", "of course"),
)
UNWANTED = (
    *("without", "excluding", "no", "minus", "leave out", "skip", "never", "drop", "remove"),
    *("turn off", "disable", "forbid", "there should be no", "do not have", "switch off", "omit"),
    *("omitting", "dropping", "skipping", "removing", "not using", "not adding", "do not add"),
    *("do not include", "not including", "do not use", "do not want", "I do not like", "avoid"),
    *("avoiding", "it has no", "we need no", "turning off", "forbidding", "lacking", "leaving out"),
)
"""What makes a switch true or false, before it."""
YES = (
    *("on", "yes", "true", "enabled", "allowed", "included", "wanted", "turned on", "ok", "active"),
    *(
        "added",
        "used",
        "needed",
        "kept",
        "is on",
        "is wanted",
        "switched on",
        "set to yes",
        "is yes",
    ),
    *("set to true", "is included", "of course", "present", "there", "desired", "is fine", "given"),
)
NO = (
    *("off", "no", "false", "disabled", "forbidden", "left out", "not wanted", "turned off"),
    *(
        "not included",
        "not needed",
        "not used",
        "omitted",
        "dropped",
        "skipped",
        "removed",
        "is off",
    ),
    *(
        "not added",
        "switched off",
        "set to no",
        "is no",
        "set to false",
        "is not included",
        "missing",
    ),
    *("excluded", "not there", "undesired", "not on", "not given", "is not wanted", "not allowed"),
)
"""The same, after it."""
